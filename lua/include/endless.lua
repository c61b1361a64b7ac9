-- A hold without a deadline ends when somebody ends it. It has a member of its own in `deadlines`,
-- at a moment that never comes; once it has ended it is remembered from then on, as others are from
-- their deadline: the end becomes its deadline.
-- Returns the deadline of a record that ends now.
local function deadline_at_end(record, keys, pool_id, digest)
  if record.deadline_ms ~= NO_DEADLINE_MS then
    return record.deadline_ms
  end
  call('ZREM', keys.deadlines, digest)
  call('ZADD', keys.retired, now + RETENTION_MS, digest)
  call('ZADD', keys.due, 'LT', now + RETENTION_MS, pool_id)
  return now
end
