#!lua
--[[ repair: bring one pool back to what SQL says, if nothing has happened since the comparison.
KEYS  1 shard_meta   2 shard_log   3 pool   4 reservations   5 deadlines   6 buyers   7 due
ARGV  1 pool_id   2 expected_seq   3 reason   4 total   5 available   6 held   7 sold   8 locked
      9 reservation_count   10… digest, packed record ('' to forget it), …   then buyer, units, …
RETURNS {status, now_ms, position}
      0 REPAIRED   1 MOVED_ON   -1 FENCED   -2 UNKNOWN_POOL
WHY   the comparison is only true for one log position; writing at any other would be a guess. ]]
--#include shard
--#include record

if seq ~= tonumber(ARGV[2]) then
  return { 1, now, position() }
elseif call('EXISTS', KEYS[3]) == 0 then
  return { -2 }
end
call('HSET', KEYS[3], 'total', ARGV[4], 'available', ARGV[5], 'held', ARGV[6], 'sold', ARGV[7],
  'locked', ARGV[8])
local first_buyer = 10 + 2 * tonumber(ARGV[9])
for index = 10, first_buyer - 1, 2 do
  local digest, packed = ARGV[index], ARGV[index + 1]
  if packed == '' then
    call('HDEL', KEYS[4], digest)
  else
    call('HSET', KEYS[4], digest, packed)
    local record = parse_record(packed)
    if record.state == 'h' or record.state == 'o' then
      call('ZADD', KEYS[5], record.deadline_ms, digest)
      call('ZADD', KEYS[7], 'LT', record.deadline_ms, ARGV[1])
    end
  end
end
for index = first_buyer, #ARGV, 2 do
  if ARGV[index + 1] == '0' then
    call('HDEL', KEYS[6], ARGV[index])
  else
    call('HSET', KEYS[6], ARGV[index], ARGV[index + 1])
  end
end
append('repaired', 1, ARGV[1], { ARGV[3] })
close_shard()
return { 0, now, position() }
