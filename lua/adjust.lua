#!lua
--[[ adjust: add units to a pool, take some back, lock or unlock some; once per command.
KEYS  1 shard_meta   2 shard_log   3 pool   4 command
ARGV  1 pool_id   2 total_delta   3 locked_delta   4 command_digest   5 quantity_max
RETURNS {status, now_ms, position, available}
      0 ADJUSTED   1 REPLAYED   2 INSUFFICIENT   3 MISMATCH   4 TOO_LARGE   -1 FENCED
      -2 UNKNOWN_POOL
WHY   units are only ever taken from what is available: never below what buyers hold. ]]
--#include shard

local pool = call('HMGET', KEYS[3], 'total', 'available', 'locked')
if not pool[1] then
  return { -2 }
end
local total_delta, locked_delta = tonumber(ARGV[2]), tonumber(ARGV[3])
local total = tonumber(pool[1]) + total_delta
local available = tonumber(pool[2]) + total_delta - locked_delta
local locked = tonumber(pool[3]) + locked_delta
local command = 'adjust\t' .. ARGV[1] .. '\t' .. ARGV[2] .. '\t' .. ARGV[3]
local earlier = call('GET', KEYS[4])
if earlier then
  return { earlier == command and 1 or 3, now, position(), tonumber(pool[2]) }
elseif available < 0 or locked < 0 then
  return { 2, now, position(), tonumber(pool[2]) }
elseif total > tonumber(ARGV[5]) then
  return { 4, now, position(), tonumber(pool[2]) }
end

call('HSET', KEYS[3], 'total', total, 'available', available, 'locked', locked)
call('SET', KEYS[4], command, 'PX', RETENTION_MS)
append('adjusted', 1, ARGV[1], { ARGV[2], ARGV[3], ARGV[4] })
close_shard()
return { 0, now, position(), available }
