#!lua flags=allow-oom
--[[ cancel: give a held reservation's units back, once; withdraw one that holds none.
KEYS  1 shard_meta   2 shard_log   3 pool   4 reservations   5 buyers   6 deadlines   7 retired
      8 due
ARGV  1 pool_id   2 digest   3 kind (cancelled: by the buyer; revoked: by the house)
RETURNS {status, now_ms, position, record}
      0 CANCELLED   1 REPLAYED   2 UNKNOWN   3 ALREADY_CONFIRMED   4 EXPIRED
      5 GROUP_SEAT (ask leave_group)   -1 FENCED
WHY   the units, the buyer's allowance and the event change in one step. ]]
--#include shard
--#include record
--#include buyers
--#include endless

local packed, record = find_record(KEYS[4], ARGV[1], ARGV[2])
if not packed then
  return { 2, now, position() }
end
if is_seat(record) then
  return { 5, now, position(), packed }
elseif record.state == 'x' or record.state == 'v' then
  return { 1, now, position(), packed }
elseif record.state == 'c' or record.state == 'r' then
  return { 3, now, position(), packed }
elseif record.state == 'e' then
  return { 4, now, position(), packed }
end

local letter = ARGV[3] == 'revoked' and 'v' or 'x'
local keys = { deadlines = KEYS[6], retired = KEYS[7], due = KEYS[8] }
local deadline_ms = deadline_at_end(record, keys, ARGV[1], ARGV[2])
packed = pack_record(letter, deadline_ms, record, '')
call('HSET', KEYS[4], ARGV[2], packed)
if record.state == 'h' then
  call('HINCRBY', KEYS[3], 'held', -record.quantity)
  call('HINCRBY', KEYS[3], 'available', record.quantity)
  give_allowance_back(KEYS[5], { [record.buyer] = record.quantity })
  append(ARGV[3], 1, ARGV[1], { ARGV[2], record.quantity })
else
  append('withdrawn', 1, ARGV[1], { ARGV[2], record.quantity, letter })
end
close_shard()
return { 0, now, position(), packed }
