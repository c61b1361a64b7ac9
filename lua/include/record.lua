-- The packed reservation record; flashstock/model/records.py is its twin and describes it.
local RECORD = '^(%a)(%d+)\t(%d+)\t(%d+)\t(%d+)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t?(.*)$'

-- The deadline of a hold that lasts until somebody ends it.
local NO_DEADLINE_MS = 9999999999999

local function parse_record(packed)
  local state, deadline_ms, generation, held_seq, quantity, pool_id, buyer, cart, payment =
    string.match(packed, RECORD)
  return {
    state = state, deadline_ms = tonumber(deadline_ms), quantity = tonumber(quantity),
    pool_id = pool_id, buyer = buyer, cart = cart, payment = payment,
    stamp = '\t' .. generation .. '\t' .. held_seq .. '\t' .. quantity .. '\t' .. pool_id
      .. '\t' .. buyer .. '\t' .. cart,
  }
end

-- A seat in a group says so where a line of a cart names that.
local function is_seat(record)
  return string.sub(record.cart, 1, 2) == 'g:'
end

-- The record of a request to this pool, or nothing: a digest alone may be another pool's.
local function find_record(reservations_key, pool_id, digest)
  local packed = call('HGET', reservations_key, digest)
  local record = packed and parse_record(packed)
  if record and record.pool_id == pool_id then
    return packed, record
  end
end

-- `payment` is '' or 'payment_ref\torder_index\treturned'.
local function pack_record(state, deadline_ms, record, payment)
  local packed = state .. string.format('%013.0f', deadline_ms) .. record.stamp
  if payment ~= '' then
    packed = packed .. '\t' .. payment
  end
  return packed
end

-- Was this record made by a request with the same payload? `tail` is quantity, pool, buyer, cart.
local function same_payload(packed, tail)
  local stored = string.match(packed, '^[^\t]*\t[^\t]*\t[^\t]*\t(.*)$')
  return stored == tail or string.sub(stored, 1, #tail + 1) == tail .. '\t'
end
