#!lua
--[[ retract: take back a hold or a seat that SQL refused because its key is an older reservation's.
KEYS  1 shard_meta   2 shard_log   3 pool   4 reservations   5 deadlines   6 buyers   7 retired
      8 due   9 groups   10 group_members   11 group_seats   12 open_groups   13 group_deadlines
ARGV  1 pool_id   2 digest   3 generation   4 seq (of the refused event)   5 the packed record of
      the older reservation
RETURNS {status, now_ms, position}
      0 RETRACTED   1 GONE   2 SOLD   -1 FENCED
WHY   SQL never counted the hold, so its units come back without an event that SQL would count;
      from here on the key is answered with the reservation it made first. ]]
--#include shard
--#include record
--#include buyers
--#include endless
--#include expiry
--#include group_record
--#include groups
--#include group_release

local packed, record = find_record(KEYS[4], ARGV[1], ARGV[2])
local BATCH_MAX = 128
if not packed or packed == ARGV[5] then
  return { 1, now, position() }
end
-- A record has the number of the first event of its batch.
local generation, first_seq = string.match(packed, '^[^\t]*\t(%d+)\t(%d+)')
local place = tonumber(ARGV[4]) - tonumber(first_seq)
if generation ~= ARGV[3] or place < 0 or place >= BATCH_MAX then
  return { 1, now, position() }
elseif record.state == 'c' or record.state == 'r' or record.state == 'p' then
  return { 2, now, position() }
end

local pool, seat = read_pool(), seat_of(ARGV[2], packed)
local group = seat.group and group_of(seat.group)
if seat.group and (seat.state == 'h' or seat.state == 'o') then
  local ended = new_ended(seat.group)
  end_seat(pool, seat, 'x', ended)
  write_ended(ended)
elseif record.state == 'h' then
  pool.held, pool.available = pool.held - record.quantity, pool.available + record.quantity
  give_allowance_back(keys.buyers, { [record.buyer] = record.quantity })
end
deadline_at_end(record, keys, ARGV[1], ARGV[2])
-- A group of the same name that SQL knows already: it never was one of ours.
local namesake = string.match(ARGV[5], '\tg:([^\t]+)') == ARGV[2]
if group and namesake and seat.group == ARGV[2] and group.pending + group.paid == 0 then
  group.state = 'x'
  pool.groups_open = pool.groups_open - 1
end
call('HSET', KEYS[4], ARGV[2], ARGV[5])
close_groups(ARGV[1], pool)
if group then
  save_groups(pool)
else
  call('HSET', keys.pool, 'available', pool.available, 'held', pool.held)
end
append('repaired', 1, ARGV[1], { 'reused key' })
close_shard()
return { 0, now, position() }
