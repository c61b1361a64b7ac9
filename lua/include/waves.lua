-- Waves: `at_ms:quantity,…` in order of time. Whoever comes first after `at_ms` releases a wave,
-- so waves are exact to the millisecond whether or not any scheduler runs.
-- A wave never releases more than is still locked: units may have been unlocked by hand.
-- Returns the units that leave `locked`, and when the next wave is due (0: none).
local function release_due_waves(pool_id, pool_key, waves, locked)
  if waves == '' then
    return 0, 0
  end
  local due, released, remaining, next_at_ms = false, 0, {}, 0
  for at_ms, quantity in string.gmatch(waves, '(%d+):(%d+)') do
    if tonumber(at_ms) <= now then
      due, released = true, released + tonumber(quantity)
    else
      if #remaining == 0 then
        next_at_ms = tonumber(at_ms)
      end
      remaining[#remaining + 1] = at_ms .. ':' .. quantity
    end
  end
  if due then
    released = math.min(released, locked)
    local rest = table.concat(remaining, ',')
    call('HSET', pool_key, 'waves', rest)
    append('wave_released', 1, pool_id, { released, rest })
  end
  return released, next_at_ms
end
