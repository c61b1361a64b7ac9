-- Seats whose own deadline has passed, and what becomes of open groups whose seats end.
local RELEASED_AT_ONCE = 512 -- seats, and then whole batches of them

local function log_expired(pool_id, ended)
  write_ended(ended)
  if #ended.e > 0 then
    append('expired', #ended.e / 2, pool_id, ended.e)
  end
  for _, fields in ipairs(ended.withdrawn) do
    append('withdrawn', 1, pool_id, fields)
  end
end

-- Ends pending seats whose deadline has passed, as `release_expired` does holds.
local function release_seats(pool_id, pool, batch_max, units_wanted)
  local enough, seats = pool.available + units_wanted, 0
  for _ = 1, batch_max do
    local batch = pool.available < enough and seats < RELEASED_AT_ONCE
      and call('ZRANGEBYSCORE', keys.deadlines, '-inf', now, 'LIMIT', 0, 1)[1]
    if not batch then
      break
    end
    local digests, ended = batch_digests(batch), new_ended('')
    local records = call('HMGET', keys.reservations, unpack(digests))
    for index, digest in ipairs(digests) do
      local seat = records[index] and seat_of(digest, records[index])
      if seat and (seat.state == 'h' or seat.state == 'o') and seat.deadline_ms <= now then
        end_seat(pool, seat, 'e', ended)
      end
    end
    log_expired(pool_id, ended)
    seats = seats + #digests
    call('ZREM', keys.deadlines, batch)
    call('ZADD', keys.retired, now + RETENTION_MS, batch)
  end
end

local function fail_group(pool_id, pool, group, reason)
  group.state = 'x'
  pool.groups_open = pool.groups_open - 1
  touch(group)
  append('group_failed', 1, pool_id, { group.digest, reason, group.paid })
end

-- What became of open groups whose seats ended: the last one gone, or the opener.
local function close_groups(pool_id, pool)
  for _, group in ipairs(touched) do
    if group.state == 'o' and group.pending + group.paid == 0 then
      fail_group(pool_id, pool, group, 'abandoned')
    elseif group.state == 'o' and group.opener_left then
      local first = first_members(group, 'a', 1)[1] or ''
      group.opener = string.sub(first, -DIGEST_LENGTH)
      append('opener_passed', 1, pool_id, { group.digest, group.opener })
    end
    group.opener_left = false
  end
end
