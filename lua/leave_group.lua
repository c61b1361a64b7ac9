#!lua flags=allow-oom
--[[ leave_group: give a seat back while its group is open, once; a paid one is refunded.
KEYS  1 shard_meta   2 shard_log   3 pool   4 reservations   5 deadlines   6 buyers   7 retired
      8 due   9 groups   10 group_members   11 group_seats   12 open_groups   13 group_deadlines
ARGV  1 pool_id   2 digest   3 kind (cancelled: by the buyer; revoked: by the house)
RETURNS {status, now_ms, position, record, group}
      0 CANCELLED   1 REPLAYED   2 UNKNOWN   3 ALREADY_CONFIRMED   4 EXPIRED   -1 FENCED
WHY   unit, place, allowance and refund change in one step, and who opens the group now is decided
      with them; a group that nobody is left in fails. ]]
--#include shard
--#include record
--#include buyers
--#include expiry
--#include waves
--#include group_record
--#include groups
--#include group_release
--#include group_ends

local pool_id, digest = ARGV[1], ARGV[2]
local packed = find_record(keys.reservations, pool_id, digest)
if not packed then
  return { 2, now, position() }
end
local seq_before, pool = seq, read_pool()
local group = group_of(seat_of(digest, packed).group)
if group and overdue(group) then
  decide_group(pool_id, pool, group)
end
local seat = settled_seat(pool_id, pool, group, digest)
local paid = seat.state == 'c' or seat.state == 'p'
local status = 0
if seat.state == 'x' or seat.state == 'v' or seat.state == 'u' then
  status = 1
elseif seat.state == 'e' then
  status = 4
elseif seat.state == 'r' or not group or group.state ~= 'o' then
  status = 3
else
  local letter, ended = ARGV[3] == 'revoked' and 'v' or 'x', new_ended(group.digest)
  end_seat(pool, seat, paid and 'u' or letter, ended)
  log_settled(pool_id, ended)
  if #ended.x > 0 then
    append('cancelled', 1, pool_id, ended.x)
  end
end

if group and unsettled(group) then
  settle_seats(pool_id, pool, group, SEATS_MAX)
end
if seq > seq_before then
  close_groups(pool_id, pool)
  save_groups(pool)
  close_shard()
end
return { status, now, position(), call('HGET', keys.reservations, digest),
  group and pack_group(group) or '' }
