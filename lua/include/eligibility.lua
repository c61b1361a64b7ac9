-- Who is let in. `audience` is '' (everyone), 'new', 'named' or 'level:N'; `channels` is '' (all) or
-- names with commas between. What is attested of a request is '' or a digit each for a new and for
-- a named buyer, two digits for the level, then the channel; flashstock/model/eligibility.py says
-- so too. A pool of before there were such rules has neither.
-- Returns nothing where everyone is let in, so that such a pool pays for nothing.
local function doorkeeper(audience, channels)
  audience, channels = audience or '', channels or ''
  if audience == '' and channels == '' then
    return nil
  end
  local level = tonumber(string.match(audience, '^level:(%d+)$'))
  local listed = ',' .. channels .. ','
  return function(attests)
    local channel = string.sub(attests, 5)
    if channels ~= '' and
      (channel == '' or not string.find(listed, ',' .. channel .. ',', 1, true)) then
      return false
    elseif audience == 'new' then
      return string.sub(attests, 1, 1) == '1'
    elseif audience == 'named' then
      return string.sub(attests, 2, 2) == '1'
    elseif audience ~= '' then
      return level ~= nil and (tonumber(string.sub(attests, 3, 4)) or 0) >= level
    end
    return true
  end
end
