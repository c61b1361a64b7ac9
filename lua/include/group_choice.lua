-- Which group an item of a batch gets a seat in. `counts` is what buyers have, as the batch goes on:
-- `group\tbuyer` seats in one group, `\tbuyer` groups.
local PAGE, PAGES_MAX = 16, 16 -- of the list of open groups, to match somebody into one of them
local counts = {}
-- Open groups as far as they were read, in the order of the list as long as none has `moved`.
local candidates, moved, pages_read, listed_all = {}, false, 0, false

local function read_batch(wants, buyers)
  local digests, fields = {}, {}
  for index, wanted in ipairs(wants) do
    fields[#fields + 1] = '\t' .. buyers[index]
    local digest = string.match(wanted, '^join:(.*)$')
    if digest then
      fields[#fields + 1] = digest .. '\t' .. buyers[index]
      if groups[digest] == nil then
        groups[digest] = false
        digests[#digests + 1] = digest
      end
    end
  end
  local values = call('HMGET', keys.seats, unpack(fields))
  for index, field in ipairs(fields) do
    counts[field] = tonumber(values[index] or 0)
  end
  if #digests > 0 then
    local packed = call('HMGET', keys.groups, unpack(digests))
    for index, digest in ipairs(digests) do
      groups[digest] = packed[index] and parse_group(digest, packed[index]) or false
    end
  end
end

local function count_of(group, buyer)
  local field = group .. '\t' .. buyer
  if counts[field] == nil then
    counts[field] = tonumber(call('HGET', keys.seats, field) or 0)
  end
  return counts[field]
end

local function joinable(group)
  return group.state == 'o' and group.deadline_ms > now
end

-- The verdict that keeps a buyer out of a group with a free seat.
local function kept_out(group, buyer, attests)
  if group.rules.newcomers and string.sub(attests, 1, 1) ~= '1' then
    return 9
  end
  local seats = count_of(group.digest, buyer)
  if seats >= group.rules.seats_max then
    return 14
  elseif seats == 0 and group.rules.groups_max > 0
    and count_of('', buyer) >= group.rules.groups_max then
    return 15
  end
end

local function group_to_join(pool_id, digest, buyer, attests)
  local group = group_of(digest)
  if not group or group.pool_id ~= pool_id then
    return nil, 11
  elseif not joinable(group) then
    return group, 13
  elseif seats_missing(group) == 0 then
    return group, 12
  end
  return group, kept_out(group, buyer, attests)
end

local function read_page()
  local first = pages_read * PAGE
  local digests = call('ZRANGE', keys.open, first, first + PAGE - 1)
  pages_read = pages_read + 1
  listed_all = #digests < PAGE or pages_read == PAGES_MAX
  if #digests > 0 then
    local packed = call('HMGET', keys.groups, unpack(digests))
    for index, digest in ipairs(digests) do
      groups[digest] = groups[digest] or parse_group(digest, packed[index])
      candidates[#candidates + 1] = groups[digest]
    end
  end
end

local function nearer(one, other)
  local score, other_score = open_score(one), open_score(other)
  return score < other_score or (score == other_score and one.digest < other.digest)
end

-- Of the first open groups with a free seat, the nearest to full that the buyer may enter.
local function group_to_match(buyer, attests)
  local index = 1
  while true do
    if moved then
      table.sort(candidates, nearer)
      moved, index = false, 1
    end
    local group = candidates[index]
    if group and not (joinable(group) and seats_missing(group) > 0) then
      table.remove(candidates, index)
    elseif (group and group.is_opened or not group and index <= PAGE) and not listed_all then
      read_page() -- what is listed comes before what the batch opens
      moved = true
    elseif not group then
      return nil
    elseif kept_out(group, buyer, attests) then
      index = index + 1
    else
      moved = moved or index > 1
      return group
    end
  end
end
