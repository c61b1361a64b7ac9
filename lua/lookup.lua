#!lua flags=no-writes
--[[ lookup: the records of some reservations, as of one instant.
KEYS  1 shard_meta   2 reservations
ARGV  1… digests, at most 1000
RETURNS {status, now_ms, position, record…}: a packed record, or false, for each digest
      0 OK   -1 FENCED
WHY   a plain HGET would read from any data set; this one answers for the one we opened. ]]
--#include shard

return { 0, now, position(), unpack(call('HMGET', KEYS[2], unpack(ARGV))) }
