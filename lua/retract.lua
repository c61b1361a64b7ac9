#!lua
--[[ retract: take back a hold that SQL refused because its key belongs to an older reservation.
KEYS  1 shard_meta   2 shard_log   3 pool   4 reservations   5 buyers   6 deadlines   7 retired
      8 due
ARGV  1 pool_id   2 digest   3 generation   4 seq (of the refused event)   5 the packed record of
      the older reservation
RETURNS {status, now_ms, seq}
      0 RETRACTED   1 GONE   2 SOLD   -1 FENCED
WHY   SQL never counted the hold, so its units come back without an event that SQL would count;
      from here on the key is answered with the reservation it made first. ]]
--#include shard
--#include record
--#include buyers
--#include endless

local packed, record = find_record(KEYS[4], ARGV[1], ARGV[2])
local BATCH_MAX = 128
if not packed or packed == ARGV[5] then
  return { 1, now, seq }
end
-- A record has the number of the first event of its batch.
local generation, first_seq = string.match(packed, '^[^\t]*\t(%d+)\t(%d+)')
local place = tonumber(ARGV[4]) - tonumber(first_seq)
if generation ~= ARGV[3] or place < 0 or place >= BATCH_MAX then
  return { 1, now, seq }
elseif record.state == 'c' or record.state == 'r' then
  return { 2, now, seq }
end

if record.state == 'h' then
  call('HINCRBY', KEYS[3], 'held', -record.quantity)
  call('HINCRBY', KEYS[3], 'available', record.quantity)
  give_allowance_back(KEYS[5], { [record.buyer] = record.quantity })
end
local keys = { deadlines = KEYS[6], retired = KEYS[7], due = KEYS[8] }
deadline_at_end(record, keys, ARGV[1], ARGV[2])
call('HSET', KEYS[4], ARGV[2], ARGV[5])
append('repaired', 1, ARGV[1], { 'reused key' })
close_shard()
return { 0, now, seq }
