#!lua flags=allow-oom
--[[ confirm: a payment turns a hold into a sale, once; late payments are served or refunded.
KEYS  1 shard_meta   2 shard_log   3 pool   4 reservations   5 deadlines   6 buyers   7 retired
      8 payment   9 due
ARGV  1 pool_id   2 digest   3 payment_ref   4 reservation_id
RETURNS {status, now_ms, position, record}
      0 CONFIRMED   1 REPLAYED   2 UNKNOWN   3 ALREADY_CONFIRMED   4 PAYMENT_REF_USED
      5 REFUND_DUE   6 ALREADY_CANCELLED   7 GROUP_SEAT (ask pay_seat)   -1 FENCED
WHY   confirm and expire race inside scripts, so exactly one wins; a payment that lost is
      recorded as an event in the same step, so it can't be forgotten. What is ordered and holds
      no units is served as a late payment is. ]]
--#include shard
--#include record
--#include buyers
--#include expiry
--#include endless

local packed, record = find_record(KEYS[4], ARGV[1], ARGV[2])
if not packed then
  return { 2, now, position() }
end
if is_seat(record) then
  return { 7, now, position(), packed }
end
local pool_id, digest, payment_ref = ARGV[1], ARGV[2], ARGV[3]
local owner = call('GET', KEYS[8])
if record.state == 'c' or record.state == 'r' then
  local same = string.match(record.payment, '^[^\t]*') == payment_ref
  return { same and 1 or 3, now, position(), packed }
end
if owner and owner ~= ARGV[4] then
  return { 4, now, position(), packed }
end
if owner then -- the refund of this very payment is on record already
  return { (record.state == 'x' or record.state == 'v') and 6 or 5, now, position(), packed }
end

local pool = call('HMGET', KEYS[3], 'available', 'held', 'sold', 'per_buyer_limit', 'state')
local available, held, sold = tonumber(pool[1]), tonumber(pool[2]), tonumber(pool[3])
local quantity = record.quantity
local status = 0
if record.state == 'h' then
  -- Also past its deadline: as long as nobody ended the hold, its units are still there.
  held = held - quantity
elseif record.state == 'e' or record.state == 'o' then
  if available < quantity then
    local units = release_expired(pool_id, { reservations = KEYS[4], deadlines = KEYS[5],
      buyers = KEYS[6], retired = KEYS[7] }, RECLAIM_BATCHES_MAX, quantity - available)
    available, held = available + units, held - units
  end
  local limit = tonumber(pool[4])
  local taken = tonumber(call('HGET', KEYS[6], record.buyer) or 0)
  if available < quantity or pool[5] == 'closed' or (limit > 0 and taken + quantity > limit) then
    status = 5
  else
    available = available - quantity
    call('HINCRBY', KEYS[6], record.buyer, quantity)
  end
else
  status = 6
end

call('SET', KEYS[8], ARGV[4], 'PX', RETENTION_MS)
if status == 0 then
  sold = sold + quantity
  local order_index = call('HINCRBY', KEYS[1], 'orders', 1)
  local keys = { deadlines = KEYS[5], retired = KEYS[7], due = KEYS[9] }
  local deadline_ms = deadline_at_end(record, keys, pool_id, digest)
  packed = pack_record('c', deadline_ms, record, payment_ref .. '\t' .. order_index .. '\t0')
  call('HSET', KEYS[4], digest, packed)
  append('confirmed', 1, pool_id,
    { digest, record.state, quantity, record.buyer, payment_ref, order_index })
else
  append('refund_due', 1, pool_id, { digest, quantity, record.buyer, payment_ref })
end
call('HSET', KEYS[3], 'available', available, 'held', held, 'sold', sold)
close_shard()
return { status, now, position(), packed }
