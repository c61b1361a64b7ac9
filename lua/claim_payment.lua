#!lua flags=allow-oom
--[[ claim_payment: bind a payment reference to one reservation, in the reference's own shard.
KEYS  1 shard_meta   2 payment
ARGV  1 reservation_id (or the verdict of a cart)   2 release (1: give the claim back)
RETURNS {status, now_ms}
      0 CLAIMED   1 TAKEN   -1 FENCED
WHY   a reference must confirm at most one reservation, also where two live in two shards; a cart
      that lives in several must come out one way, whoever decides first. ]]
--#include shard

local owner = call('GET', KEYS[2])
if owner and owner ~= ARGV[1] then
  return { 1, now }
end
if ARGV[2] == '1' then
  call('DEL', KEYS[2])
else
  call('SET', KEYS[2], ARGV[1], 'PX', RETENTION_MS)
end
return { 0, now }
