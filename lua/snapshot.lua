#!lua flags=no-writes
--[[ snapshot: one pool and the log position it stands at, as of one instant.
KEYS  1 shard_meta   2 pool
ARGV  none
RETURNS {status, now_ms, position, field, value, …}
      0 OK   -1 FENCED   -2 UNKNOWN_POOL
WHY   a comparison with SQL needs counters and position from the same instant. ]]
--#include shard

local fields = call('HGETALL', KEYS[2])
if #fields == 0 then
  return { -2 }
end
return { 0, now, position(), unpack(fields) }
