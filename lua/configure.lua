#!lua
--[[ configure: create a pool, or change its rules from this moment on.
KEYS  1 shard_meta   2 shard_log   3 pool   4 due
ARGV  1 pool_id   2 mode (create, update)   3 total   4 locked   5 reason (may be '')
      6… field, value, … (rules)
RETURNS {status, now_ms, position, field, value, …}: the pool as it is now
      0 CONFIGURED   1 EXISTS   2 CLOSED   3 UNCHANGED   4 GROUP_BUY_FIXED   -1 FENCED
      -2 UNKNOWN_POOL
WHY   the script that sells reads the rules in the same step, so a change has an exact moment. ]]
--#include shard

local RULES = { 'sku', 'state', 'per_buyer_limit', 'hold_ms', 'starts_at_ms', 'ends_at_ms',
  'durability', 'waves', 'audience', 'channels', 'deduct', 'group_buy' }
local pool_id, create = ARGV[1], ARGV[2] == 'create'
local state = call('HGET', KEYS[3], 'state')
local function answer(status)
  return { status, now, position(), unpack(call('HGETALL', KEYS[3])) }
end
if create and state then
  return answer(1)
elseif not create and not state then
  return { -2 }
elseif state == 'closed' then
  return answer(2)
end

local changed, fixed = create, false
for index = 6, #ARGV, 2 do
  local before, after = call('HGET', KEYS[3], ARGV[index]) or '', ARGV[index + 1]
  changed = changed or before ~= after
  -- A seat and a plain hold end in different ways: no pool may have both.
  fixed = fixed or (ARGV[index] == 'group_buy' and (before == '') ~= (after == ''))
end
if fixed and not create then
  return answer(4)
end
if not changed then
  return answer(3)
end

if create then
  call('HSET', KEYS[3], 'total', ARGV[3], 'available', tonumber(ARGV[3]) - tonumber(ARGV[4]),
    'held', 0, 'sold', 0, 'locked', ARGV[4], 'grants', 0)
end
call('HSET', KEYS[3], unpack(ARGV, 6))
local values = call('HMGET', KEYS[3], unpack(RULES))
-- What `reserve` looks at first: is there any rule that few pools have?
local special = (values[9] or '') .. (values[10] or '') .. (values[12] or '') ~= ''
  or (values[11] or 'hold') ~= 'hold'
call('HSET', KEYS[3], 'special', special and '1' or '0')
local fields = { create and 1 or 0, ARGV[3], ARGV[4] }
for index, name in ipairs(RULES) do
  fields[#fields + 1] = name
  fields[#fields + 1] = values[index] or '' -- a pool may be older than the rule
end
if ARGV[5] ~= '' then
  fields[#fields + 1] = 'reason'
  fields[#fields + 1] = ARGV[5]
end
local first_wave_ms = string.match(values[8], '^%d+')
if first_wave_ms then
  call('ZADD', KEYS[4], 'LT', first_wave_ms, pool_id)
end
append('configured', 1, pool_id, fields)
close_shard()
return answer(0)
