#!lua flags=allow-oom
--[[ settle_group: decide one group whose deadline has passed, and settle a bounded part of it.
KEYS  1 shard_meta   2 shard_log   3 pool   4 reservations   5 deadlines   6 buyers   7 retired
      8 due   9 groups   10 group_members   11 group_seats   12 open_groups   13 group_deadlines
ARGV  1 pool_id   2 group
RETURNS {status, now_ms, position, record, packed_group}: the record is always ''
      0 SETTLED   1 MORE   2 OPEN   3 UNKNOWN   -1 FENCED
WHY   whoever reads an overdue group sees what became of it, whether or not any sweeper runs. ]]
--#include shard
--#include record
--#include buyers
--#include expiry
--#include waves
--#include group_record
--#include groups
--#include group_release
--#include group_ends

local pool_id, group = ARGV[1], group_of(ARGV[2])
if not group or group.pool_id ~= pool_id then
  return { 3, now, position() }
end
local seq_before, pool = seq, read_pool()
if overdue(group) then
  decide_group(pool_id, pool, group)
end
if unsettled(group) then
  settle_seats(pool_id, pool, group, SEATS_MAX)
end
if seq > seq_before then
  close_groups(pool_id, pool)
  save_groups(pool)
  close_shard()
end
local status = 0
if group.state == 'o' then
  status = 2
elseif unsettled(group) then
  status = 1
end
return { status, now, position(), '', pack_group(group) }
