#!lua
--[[ extend: move a hold's deadline to `now + extension_ms`, never to an earlier one.
KEYS  1 shard_meta   2 shard_log   3 reservations   4 deadlines   5 due   6 groups
ARGV  1 pool_id   2 digest   3 extension_ms
RETURNS {status, now_ms, position, record}
      0 EXTENDED   1 UNCHANGED   2 UNKNOWN   3 ALREADY_CONFIRMED   4 EXPIRED   5 ALREADY_CANCELLED
      -1 FENCED
WHY   the old batch keeps its member: the sweep passes over a hold whose deadline has moved. What
      holds no units has nothing to keep longer: it is left as it is. A seat ends with its group. ]]
--#include shard
--#include record

local packed, record = find_record(KEYS[3], ARGV[1], ARGV[2])
if not packed then
  return { 2, now, position() }
end
if record.state == 'c' or record.state == 'r' or record.state == 'p' then
  return { 3, now, position(), packed }
elseif record.state == 'x' or record.state == 'v' or record.state == 'u' then
  return { 5, now, position(), packed }
elseif record.state == 'o' then
  return { 1, now, position(), packed }
elseif record.state == 'e' or record.deadline_ms <= now then
  return { 4, now, position(), packed }
end
local deadline_ms = now + tonumber(ARGV[3])
if is_seat(record) then
  local group = call('HGET', KEYS[6], string.sub(record.cart, 3))
  local group_ends_ms = group and tonumber(string.match(group, '^%a(%d+)')) or 0
  deadline_ms = math.min(deadline_ms, group_ends_ms)
end
if deadline_ms <= record.deadline_ms then
  return { 1, now, position(), packed }
end

packed = pack_record('h', deadline_ms, record, '')
call('HSET', KEYS[3], ARGV[2], packed)
call('ZADD', KEYS[4], deadline_ms, ARGV[2])
call('ZADD', KEYS[5], 'LT', deadline_ms, ARGV[1])
append('extended', 1, ARGV[1], { ARGV[2], text(deadline_ms) })
close_shard()
return { 0, now, position(), packed }
