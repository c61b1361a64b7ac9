-- Waves: `at_ms:quantity,…` in order of time. Whoever comes first after `at_ms` releases a wave,
-- so waves are exact to the millisecond whether or not any scheduler runs.
-- Returns the units that leave `locked`, and when the next wave is due (0: none).
local function release_due_waves(pool_id, pool_key, waves)
  if waves == '' then
    return 0, 0
  end
  local released, remaining, next_at_ms = 0, {}, 0
  for at_ms, quantity in string.gmatch(waves, '(%d+):(%d+)') do
    if tonumber(at_ms) <= now then
      released = released + tonumber(quantity)
    else
      if #remaining == 0 then
        next_at_ms = tonumber(at_ms)
      end
      remaining[#remaining + 1] = at_ms .. ':' .. quantity
    end
  end
  if released > 0 then
    local rest = table.concat(remaining, ',')
    call('HSET', pool_key, 'waves', rest)
    append('wave_released', 1, pool_id, { released, rest })
  end
  return released, next_at_ms
end
