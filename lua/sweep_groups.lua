#!lua flags=allow-oom
--[[ sweep_groups: what time alone decides in a pool of groups; `expire` in any other.
KEYS  1 shard_meta   2 shard_log   3 pool   4 reservations   5 deadlines   6 buyers   7 retired
      8 due   9 groups   10 group_members   11 group_seats   12 open_groups   13 group_deadlines
ARGV  1 pool_id   2 batch_max (batches of seats that expired or are forgotten; 16 times as many
      seats of groups that ended)
RETURNS {status, now_ms, position, units_gained (by what is available), next_due_ms (0: nothing is
      waiting)}
      0 OK   -1 FENCED   -2 UNKNOWN_POOL
WHY   a large group ends in one step, and its seats are given back in bounded ones; `due` holds
      each pool's next moment, so idle pools cost nothing. ]]
--#include shard
--#include record
--#include buyers
--#include expiry
--#include waves
--#include group_record
--#include groups
--#include group_release
--#include group_ends
--#include group_memory

local SEATS_EACH = 16 -- of groups that have ended, for each batch; a group counts as one besides
local pool_id, batch_max = ARGV[1], tonumber(ARGV[2])
local pool = read_pool()
if not pool.state then
  call('ZREM', KEYS[8], pool_id)
  return { -2 }
end
local seq_before, available_before = seq, pool.available
local released, next_due_ms = release_due_waves(pool_id, keys.pool, pool.waves, pool.locked)
pool.waves, pool.locked = '', pool.locked - released
pool.available = pool.available + released
release_seats(pool_id, pool, batch_max, math.huge)
close_groups(pool_id, pool)

local seats_left = batch_max * SEATS_EACH
local ended = call('ZRANGEBYSCORE', keys.ends, '-inf', now, 'LIMIT', 0, seats_left)
for _, digest in ipairs(ended) do
  local group = group_of(digest)
  if seats_left <= 0 then
    break
  elseif not group then
    call('ZREM', keys.ends, digest)
  end
  if group and overdue(group) then
    decide_group(pool_id, pool, group)
    seats_left = seats_left - 1
  end
  if group and unsettled(group) then
    seats_left = seats_left - settle_seats(pool_id, pool, group, math.min(seats_left, SEATS_MAX))
  elseif group and not group.touched then
    seats_left = seats_left - 1 - forget_group(group, SEATS_MAX)
  end
end
forget_seats(pool_id, batch_max)

if seq > seq_before then
  close_groups(pool_id, pool)
  save_groups(pool)
  close_shard()
end
for _, waiting in ipairs({ keys.deadlines, keys.retired, keys.ends }) do
  local first = call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
  local at_ms = tonumber(first[2])
  if at_ms and (next_due_ms == 0 or at_ms < next_due_ms) then
    next_due_ms = at_ms
  end
end
if next_due_ms == 0 then
  call('ZREM', keys.due, pool_id)
else
  call('ZADD', keys.due, next_due_ms, pool_id)
end
return { 0, now, position(), pool.available - available_before, next_due_ms }
