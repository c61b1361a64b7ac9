#!lua flags=allow-oom
--[[ reclaim: sell what a receipt proves was held, where every store has lost the hold itself.
KEYS  1 shard_meta   2 shard_log   3 pool   4 reservations   5 deadlines   6 buyers   7 retired
      8 due   9 payment
ARGV  1 pool_id   2 digest   3 payment_ref   4 reservation_id   5 buyer   6 quantity   7 deadline_ms
RETURNS {status, now_ms, position, record}: the record of the sale, where there is one now
      0 RECLAIMED   1 KNOWN   2 PAYMENT_REF_USED   3 REFUND_DUE   -1 FENCED   -2 UNKNOWN_POOL
WHY   hold and sale are logged in one step, so the units are never anyone else's in between; a
      payment that finds no stock is recorded in the same step, so it can't be forgotten. ]]
--#include shard
--#include record
--#include buyers
--#include expiry

local pool_id, digest, payment_ref, reservation_id = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local buyer, quantity = ARGV[5], tonumber(ARGV[6])
-- Of an endless hold, this is the end.
local deadline_ms = tonumber(ARGV[7]) == NO_DEADLINE_MS and now or tonumber(ARGV[7])
local pool = call('HMGET', KEYS[3], 'available', 'held', 'sold', 'per_buyer_limit', 'state',
  'grants', 'group_buy')
if not pool[1] then
  return { -2 }
end
if find_record(KEYS[4], pool_id, digest) then
  return { 1, now, position() }
end
local owner = call('GET', KEYS[9])
if owner then -- by this very reservation: its refund is on record already
  return { owner == reservation_id and 3 or 2, now, position() }
end

local available, held, sold = tonumber(pool[1]), tonumber(pool[2]), tonumber(pool[3])
local grants, status, packed = tonumber(pool[6]), 3, nil
-- The digest can be another pool's by now: that record must not be written over.
-- In a pool that sells to groups nobody knows whose seat it was.
if call('HEXISTS', KEYS[4], digest) == 0 and (pool[7] or '') == '' then
  if available < quantity then
    local units = release_expired(pool_id, { reservations = KEYS[4], deadlines = KEYS[5],
      buyers = KEYS[6], retired = KEYS[7] }, RECLAIM_BATCHES_MAX, quantity - available)
    available, held = available + units, held - units
  end
  local limit = tonumber(pool[4])
  local taken = tonumber(call('HGET', KEYS[6], buyer) or 0)
  local allowed = pool[5] ~= 'closed' and (limit == 0 or taken + quantity <= limit)
  if allowed and available >= quantity then
    status = 0
  end
end

call('SET', KEYS[9], reservation_id, 'PX', RETENTION_MS)
if status == 0 then
  available, sold, grants = available - quantity, sold + quantity, grants + 1
  call('HINCRBY', KEYS[6], buyer, quantity)
  local order_index = call('HINCRBY', KEYS[1], 'orders', 1)
  local stamp = '\t' .. GENERATION .. '\t' .. text(seq + 1) .. '\t' .. ARGV[6] .. '\t' .. pool_id
    .. '\t' .. buyer .. '\t'
  packed = pack_record('c', deadline_ms, { stamp = stamp },
    payment_ref .. '\t' .. order_index .. '\t0')
  call('HSET', KEYS[4], digest, packed)
  local forget_at_ms = math.max(now, deadline_ms) + RETENTION_MS
  call('ZADD', KEYS[7], forget_at_ms, digest)
  call('ZADD', KEYS[8], 'LT', forget_at_ms, pool_id)
  append('held', 1, pool_id, { text(deadline_ms), digest, buyer, quantity, '' })
  append('confirmed', 1, pool_id, { digest, 'h', quantity, buyer, payment_ref, order_index })
else
  append('refund_due', 1, pool_id, { digest, quantity, buyer, payment_ref })
end
call('HSET', KEYS[3], 'available', available, 'held', held, 'sold', sold, 'grants', grants)
close_shard()
return { status, now, position(), packed }
