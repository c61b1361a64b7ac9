-- How a payment for a seat is served.

local function refund(pool_id, seat, payment_ref)
  append('refund_due', 1, pool_id, { seat.digest, seat.quantity, seat.buyer, payment_ref })
  return true
end

-- Is there a place, and what it needs, for a payment? A pending seat has its place; one that has
-- expired takes another, if the buyer still may.
local function may_pay(pool_id, pool, group, seat)
  if not group or group.state ~= 'o' or seat.state == 'u' then
    return false
  elseif seat.state == 'h' then
    return true
  end
  if seat.state == 'e' then
    local seats = tonumber(call('HGET', keys.seats, seat.group .. '\t' .. seat.buyer) or 0)
    local others = tonumber(call('HGET', keys.seats, '\t' .. seat.buyer) or 0)
    local rules = group.rules
    if seats_missing(group) <= 0 then
      release_seats(pool_id, pool, RECLAIM_BATCHES_MAX, math.huge)
    end
    if seats_missing(group) <= 0 or seats >= rules.seats_max
      or (seats == 0 and rules.groups_max > 0 and others >= rules.groups_max) then
      return false
    end
  end
  local taken = tonumber(call('HGET', keys.buyers, seat.buyer) or 0)
  return pool.state ~= 'closed' and (pool.limit == 0 or taken + seat.quantity <= pool.limit)
    and find_units(pool_id, pool, seat.quantity)
end

local function take_payment(pool_id, pool, group, seat, payment_ref)
  local quantity, before = seat.quantity, seat.state
  local at_forming = group.rules.at_forming
  if before == 'e' then
    count_seat(seat)
  else
    call('ZREM', keys.members, member_of(seat))
    group.pending = group.pending - 1
  end
  if before == 'h' then
    pool.held = pool.held - quantity
  else
    pool.available = pool.available - (at_forming and 0 or quantity)
    call('HINCRBY', keys.buyers, seat.buyer, quantity)
  end
  pool.sold = pool.sold + (at_forming and 0 or quantity)
  local order_index = call('HINCRBY', KEYS[1], 'orders', 1)
  seat.payment = payment_ref .. '\t' .. order_index .. '\t0'
  call('HSET', keys.reservations, seat.digest,
    pack_record(at_forming and 'p' or 'c', seat.deadline_ms, seat, seat.payment))
  call('ZADD', keys.members, 0, member_of(seat))
  group.paid = group.paid + 1
  touch(group)
  local fields = { seat.digest, before, quantity, seat.buyer, payment_ref, order_index }
  if at_forming then
    append('seat_paid', 1, pool_id, fields)
  else
    append('confirmed', 1, pool_id, fields)
  end
end
