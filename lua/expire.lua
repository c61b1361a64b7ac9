#!lua flags=allow-oom
--[[ expire: what time alone decides in one pool: due waves, expired holds, records to forget.
KEYS  1 shard_meta   2 shard_log   3 pool   4 reservations   5 deadlines   6 buyers   7 retired
      8 due
ARGV  1 pool_id   2 batch_max (batches of at most 128 holds, for each kind of work)
RETURNS {status, now_ms, position, units_released, next_due_ms (0: nothing is waiting)}
      0 OK   1 GROUP_POOL (ask sweep_groups)   -1 FENCED   -2 UNKNOWN_POOL
WHY   bounded work per call; `due` holds each pool's next moment, so idle pools cost nothing. ]]
--#include shard
--#include record
--#include buyers
--#include expiry
--#include waves

local pool_id = ARGV[1]
local pool = call('HMGET', KEYS[3], 'available', 'held', 'locked', 'waves', 'group_buy')
if not pool[1] then
  call('ZREM', KEYS[8], pool_id)
  return { -2 }
end
if (pool[5] or '') ~= '' then
  return { 1, now, position() }
end
local seq_before = seq
local released, next_due_ms = release_due_waves(pool_id, KEYS[3], pool[4], tonumber(pool[3]))
local keys = { reservations = KEYS[4], deadlines = KEYS[5], buyers = KEYS[6], retired = KEYS[7] }
local units = release_expired(pool_id, keys, tonumber(ARGV[2]), math.huge)

-- Forget records whose retention is over. One that was extended waits for its own member: the
-- deadline it stands at now counts, also where it has ended since.
local forgotten = call('ZRANGEBYSCORE', KEYS[7], '-inf', now, 'LIMIT', 0, tonumber(ARGV[2]))
for _, batch in ipairs(forgotten) do
  local digests, ended = batch_digests(batch), {}
  local records = call('HMGET', KEYS[4], unpack(digests))
  for index, digest in ipairs(digests) do
    local record = records[index] and parse_record(records[index])
    if record and record.state ~= 'h' and record.deadline_ms + RETENTION_MS <= now then
      ended[#ended + 1] = digest
    end
  end
  if #ended > 0 then
    call('HDEL', KEYS[4], unpack(ended))
  end
  call('ZREM', KEYS[7], batch)
end

if seq > seq_before then
  call('HSET', KEYS[3], 'available', tonumber(pool[1]) + units + released,
    'held', tonumber(pool[2]) - units, 'locked', tonumber(pool[3]) - released)
  close_shard()
end
for _, waiting in ipairs({ KEYS[5], KEYS[7] }) do
  local first = call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
  local at_ms = tonumber(first[2])
  if at_ms and (next_due_ms == 0 or at_ms < next_due_ms) then
    next_due_ms = at_ms
  end
end
if next_due_ms == 0 then
  call('ZREM', KEYS[8], pool_id)
else
  call('ZADD', KEYS[8], next_due_ms, pool_id)
end
return { 0, now, position(), units, next_due_ms }
