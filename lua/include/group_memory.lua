-- Forgetting what nobody can ask for any more. A seat is remembered as long as its group.

-- Forgets a settled group with at most `seats_max` of its members a call. Returns how many.
local function forget_group(group, seats_max)
  local members = first_members(group, 'a', seats_max)
  local digests, fields = {}, {}
  for index, member in ipairs(members) do
    digests[index] = string.sub(member, -DIGEST_LENGTH)
  end
  if #members > 0 then
    for index, packed in ipairs(call('HMGET', keys.reservations, unpack(digests))) do
      if packed then
        fields[#fields + 1] = group.digest .. '\t' .. seat_of(digests[index], packed).buyer
      end
    end
    call('ZREM', keys.members, unpack(members))
  end
  if #fields > 0 then
    call('HDEL', keys.seats, unpack(fields))
  end
  if #members < seats_max then
    call('HDEL', keys.groups, group.digest)
    call('ZREM', keys.ends, group.digest)
    groups[group.digest] = false
  end
  return #members
end

-- Forgets records whose retention is over; those of a group that is remembered wait for it.
local function forget_seats(pool_id, batch_max)
  local batches = call('ZRANGEBYSCORE', keys.retired, '-inf', now, 'LIMIT', 0, batch_max)
  for _, batch in ipairs(batches) do
    local digests, ended = batch_digests(batch), {}
    local records = call('HMGET', keys.reservations, unpack(digests))
    call('ZREM', keys.retired, batch)
    for index, digest in ipairs(digests) do
      local seat = records[index] and seat_of(digest, records[index])
      local group = seat and seat.group and group_of(seat.group)
      if group then
        call('ZADD', keys.retired, math.max(now, group.deadline_ms) + RETENTION_MS, digest)
      elseif seat and seat.state ~= 'h' and seat.deadline_ms + RETENTION_MS <= now then
        ended[#ended + 1] = digest
      end
    end
    if #ended > 0 then
      call('HDEL', keys.reservations, unpack(ended))
    end
  end
end
