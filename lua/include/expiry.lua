-- Ends holds of one pool whose deadline has passed, oldest first and whole batches only, until
-- `units_wanted` came free or `batch_max` batches were looked at. No batch is looked at twice, so
-- on average a hold is ended at the cost of one.
-- A member of `deadlines` is the digests of one batch, 16 characters each: they share a deadline.
-- An extended hold has a member of its own, so its old batch passes it over.
-- Returns the units that came free; the caller adds them to the pool's counters.
local DIGEST_LENGTH = 16
local RECLAIM_BATCHES_MAX = 64 -- when stock is short; a batch is one hold on a quiet day

local function batch_digests(batch)
  local digests = {}
  for first = 1, #batch, DIGEST_LENGTH do
    digests[#digests + 1] = string.sub(batch, first, first + DIGEST_LENGTH - 1)
  end
  return digests
end

local function release_expired(pool_id, keys, batch_max, units_wanted)
  local fields, units, allowance = {}, 0, {}
  for _ = 1, batch_max do
    local batch = units < units_wanted
      and call('ZRANGEBYSCORE', keys.deadlines, '-inf', now, 'LIMIT', 0, 1)[1]
    if not batch then
      break
    end
    local digests, ended = batch_digests(batch), {}
    local records = call('HMGET', keys.reservations, unpack(digests))
    for index, digest in ipairs(digests) do
      local packed = records[index]
      if packed and string.byte(packed) == 104 then -- 'h'
        local record = parse_record(packed)
        if record.deadline_ms <= now then
          ended[#ended + 1] = digest
          ended[#ended + 1] = 'e' .. string.sub(packed, 2)
          fields[#fields + 1] = digest
          fields[#fields + 1] = record.quantity
          units = units + record.quantity
          allowance[record.buyer] = (allowance[record.buyer] or 0) + record.quantity
        end
      end
    end
    if #ended > 0 then
      call('HSET', keys.reservations, unpack(ended))
    end
    call('ZREM', keys.deadlines, batch)
    call('ZADD', keys.retired, now + RETENTION_MS, batch)
  end
  if #fields > 0 then
    give_allowance_back(keys.buyers, allowance)
    append('expired', #fields / 2, pool_id, fields)
  end
  return units
end
