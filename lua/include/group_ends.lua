-- How groups end: formed or failed, once; and how the seats of one that ended are settled.
local SEATS_MAX = 128 -- settled at once, and in one log entry

-- Looks for units where too few are left: in waves that are due, and in seats that have expired.
local function find_units(pool_id, pool, wanted)
  if pool.available < wanted then
    local released = release_due_waves(pool_id, keys.pool, pool.waves, pool.locked)
    pool.waves = ''
    pool.available, pool.locked = pool.available + released, pool.locked - released
    release_seats(pool_id, pool, RECLAIM_BATCHES_MAX, wanted - pool.available)
  end
  return pool.available >= wanted
end

-- All paid seats of a group are sold, or none: what they paid for is there, or it is not.
local function serve_seats(pool_id, pool, group)
  local members = call('ZRANGEBYLEX', keys.members, '[' .. group.digest .. 'a',
    '(' .. group.digest .. 'b')
  local seats, units = {}, 0
  for first = 1, #members, SEATS_MAX do
    local digests = {}
    for index = first, math.min(first + SEATS_MAX - 1, #members) do
      digests[#digests + 1] = string.sub(members[index], -DIGEST_LENGTH)
    end
    local records = call('HMGET', keys.reservations, unpack(digests))
    for index, digest in ipairs(digests) do
      if records[index] then
        seats[#seats + 1] = seat_of(digest, records[index])
        units = units + seats[#seats].quantity
      end
    end
  end
  if not find_units(pool_id, pool, units) then
    return false
  end
  pool.available, pool.sold = pool.available - units, pool.sold + units
  for first = 1, #seats, SEATS_MAX do
    local last = math.min(first + SEATS_MAX - 1, #seats)
    local records, fields = {}, { group.digest }
    for index = first, last do
      local seat = seats[index]
      records[#records + 1] = seat.digest
      records[#records + 1] = 'c' .. string.sub(seat.packed, 2)
      fields[#fields + 1] = seat.digest
      fields[#fields + 1] = seat.quantity
    end
    call('HSET', keys.reservations, unpack(records))
    append('seats_served', last - first + 1, pool_id, fields)
  end
  return true
end

local function form_group(pool_id, pool, group, house)
  if group.rules.at_forming and not serve_seats(pool_id, pool, group) then
    fail_group(pool_id, pool, group, 'no_stock')
    return
  end
  group.state, group.house = 'f', house
  pool.groups_open = pool.groups_open - 1
  touch(group)
  append('group_formed', 1, pool_id, { group.digest, group.paid, house })
end

local function overdue(group)
  return group.state == 'o' and group.deadline_ms <= now
end

-- The deadline of an open group has passed: the house completes it, or it has failed.
local function decide_group(pool_id, pool, group)
  local missing = group.rules.size - group.paid
  if group.paid > 0 and missing <= group.rules.house_max then
    form_group(pool_id, pool, group, missing)
  else
    fail_group(pool_id, pool, group, 'deadline')
  end
end

local function unsettled(group)
  return group.state ~= 'o' and group.pending + (group.state == 'x' and group.paid or 0) > 0
end

local function log_settled(pool_id, ended)
  log_expired(pool_id, ended)
  if #ended.v > 0 then
    append('revoked', #ended.v / 2, pool_id, ended.v)
  end
  if #ended.refunded > 1 then
    append('seats_refunded', (#ended.refunded - 1) / 5, pool_id, ended.refunded)
  end
end

-- Gives back at most `seats_max` seats of a group that has ended: all of one that failed, the
-- pending ones of one that the house completed. Returns how many.
local function settle_seats(pool_id, pool, group, seats_max)
  local members = first_members(group, group.state == 'x' and 'a' or 'b', seats_max)
  if #members == 0 then
    group.pending, group.paid = 0, group.state == 'x' and 0 or group.paid
    touch(group)
    return 0
  end
  local digests, ended = {}, new_ended(group.digest)
  for index, member in ipairs(members) do
    digests[index] = string.sub(member, -DIGEST_LENGTH)
  end
  local records = call('HMGET', keys.reservations, unpack(digests))
  for index, digest in ipairs(digests) do
    local seat = records[index] and seat_of(digest, records[index])
    if not seat then
      call('ZREM', keys.members, members[index])
    elseif seat.state == 'c' or seat.state == 'p' then
      end_seat(pool, seat, 'u', ended)
    else
      end_seat(pool, seat, seat.deadline_ms <= now and 'e' or 'v', ended)
    end
  end
  log_settled(pool_id, ended)
  return #members
end

-- The seat as it is now. In a group that has ended it is settled first, whoever comes to it later.
local function settled_seat(pool_id, pool, group, digest)
  local packed = call('HGET', keys.reservations, digest)
  local seat = seat_of(digest, packed)
  local pending = seat.state == 'h' or seat.state == 'o'
  if group and (group.state == 'x' and (seat.state == 'c' or seat.state == 'p')
    or group.state ~= 'o' and pending) then
    local ended = new_ended(group.digest)
    end_seat(pool, seat, not pending and 'u' or seat.deadline_ms <= now and 'e' or 'v', ended)
    log_settled(pool_id, ended)
    seat = seat_of(digest, call('HGET', keys.reservations, digest))
  end
  return seat
end
