#!lua flags=allow-oom
--[[ pay_seat: a payment for a seat counts, once; the last one that was missing forms the group.
KEYS  1 shard_meta   2 shard_log   3 pool   4 reservations   5 deadlines   6 buyers   7 retired
      8 due   9 groups   10 group_members   11 group_seats   12 open_groups   13 group_deadlines
      14 payment
ARGV  1 pool_id   2 digest   3 payment_ref   4 reservation_id
RETURNS {status, now_ms, position, record, group}
      0 CONFIRMED   1 REPLAYED   2 UNKNOWN   3 ALREADY_CONFIRMED   4 PAYMENT_REF_USED
      5 REFUND_DUE   6 ALREADY_CANCELLED   -1 FENCED
WHY   payment, deadline and the last free place race inside scripts: a payment is one of the group's
      `size`, or its refund is on record in the same step. ]]
--#include shard
--#include record
--#include buyers
--#include expiry
--#include waves
--#include group_record
--#include groups
--#include group_release
--#include group_ends
--#include group_payment

local pool_id, digest, payment_ref = ARGV[1], ARGV[2], ARGV[3]
local packed = find_record(keys.reservations, pool_id, digest)
if not packed then
  return { 2, now, position() }
end
local seq_before, pool, owner = seq, read_pool(), call('GET', KEYS[14])
local group = group_of(seat_of(digest, packed).group)
if group and overdue(group) then
  decide_group(pool_id, pool, group)
end
local seat = settled_seat(pool_id, pool, group, digest)
local same = string.match(seat.payment, '^[^\t]*') == payment_ref
local status = 5
local claims = false
if seat.state == 'c' or seat.state == 'r' or seat.state == 'p' then
  status = 3
  if same then
    status = 1
  end
elseif same then -- its refund is on record
  status = 5
elseif owner and owner ~= ARGV[4] then
  status = 4
elseif seat.state == 'x' or seat.state == 'v' then
  status = 6
  claims = not owner and refund(pool_id, seat, payment_ref)
elseif not owner and may_pay(pool_id, pool, group, seat) then
  status = 0
  claims = true
  take_payment(pool_id, pool, group, seat, payment_ref)
  if group.paid >= group.rules.size then
    form_group(pool_id, pool, group, 0)
  end
  if group.state == 'x' then
    status = 5
  end
else
  claims = not owner and refund(pool_id, seat, payment_ref)
end

if group and unsettled(group) then
  settle_seats(pool_id, pool, group, SEATS_MAX)
end
if seq > seq_before then
  if claims then
    call('SET', KEYS[14], ARGV[4], 'PX', RETENTION_MS)
  end
  close_groups(pool_id, pool)
  save_groups(pool)
  close_shard()
end
return { status, now, position(), call('HGET', keys.reservations, digest),
  group and pack_group(group) or '' }
