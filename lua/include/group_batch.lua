-- The seats a batch is granted, gathered by state and deadline: a log entry and a member of
-- `deadlines` for each of these lots. `opened` are its new groups, which all have one deadline.
local lots, lot_of, opened, counts_changed, granted_count = {}, {}, {}, {}, 0

local function grant(pool_id, group, digest, buyer, quantity, deadline_ms)
  local letter = group.rules.at_forming and 'o' or 'h'
  local head = letter .. string.format('%013.0f', deadline_ms)
  local lot = lot_of[head]
  if not lot then
    lot = { head = head, letter = letter, deadline_ms = deadline_ms, digests = {}, groups = {},
      tails = {}, fields = { text(deadline_ms) } }
    lot_of[head], lots[#lots + 1] = lot, lot
  end
  local fields, place, cart = lot.fields, #lot.digests + 1, 'g:' .. group.digest
  lot.digests[place], lot.groups[place] = digest, group
  lot.tails[place] = quantity .. '\t' .. pool_id .. '\t' .. buyer .. '\t' .. cart
  local last = 1 + 4 * place
  fields[last - 3], fields[last - 2], fields[last - 1], fields[last] = digest, buyer, quantity, cart
  granted_count = granted_count + 1
  group.pending = group.pending + 1
  touch(group)
  local seats = count_of(group.digest, buyer)
  if seats == 0 then
    counts['\t' .. buyer] = count_of('', buyer) + 1
    counts_changed['\t' .. buyer] = true
  end
  counts[group.digest .. '\t' .. buyer] = seats + 1
  counts_changed[group.digest .. '\t' .. buyer] = true
  return '\t\t\t' .. lot.tails[place]
end

local function write_opened(pool_id, deadline_ms, rules_text)
  local fields, ends = { text(deadline_ms), rules_text }, {}
  for _, group in ipairs(opened) do
    group.opened_seq = text(seq + 1)
    fields[#fields + 1] = group.digest
    ends[#ends + 1] = deadline_ms
    ends[#ends + 1] = group.digest
  end
  call('ZADD', keys.ends, unpack(ends))
  append('groups_opened', #opened, pool_id, fields)
end

local function write_lot(pool_id, lot, records, packed_of, members, patient)
  local head = lot.head .. '\t' .. GENERATION .. '\t' .. text(seq + 1) .. '\t'
  local place = 'b' .. string.format('%016.0f', seq + 1)
  for index, digest in ipairs(lot.digests) do
    local packed = head .. lot.tails[index]
    packed_of[digest] = packed
    records[#records + 1] = digest
    records[#records + 1] = packed
    members[#members + 1] = 0
    members[#members + 1] = lot.groups[index].digest .. place .. digest
  end
  if lot.letter == 'h' then
    append('held', #lot.digests, pool_id, lot.fields, patient)
  else
    append('ordered', #lot.digests, pool_id, lot.fields, patient)
  end
  call('ZADD', keys.deadlines, lot.deadline_ms, table.concat(lot.digests))
  call('ZADD', keys.due, 'LT', lot.deadline_ms, pool_id)
end

-- `totals` is what each buyer has taken of the pool now. Returns the packed records by digest.
local function write_granted(pool_id, totals, patient)
  local records, members, packed_of = {}, {}, {}
  local seats, allowances = {}, {}
  for _, lot in ipairs(lots) do
    write_lot(pool_id, lot, records, packed_of, members, patient)
  end
  for field in pairs(counts_changed) do
    seats[#seats + 1] = field
    seats[#seats + 1] = counts[field]
  end
  for buyer, total in pairs(totals) do
    allowances[#allowances + 1] = buyer
    allowances[#allowances + 1] = total
  end
  if granted_count > 0 then
    call('HSET', keys.reservations, unpack(records))
    call('ZADD', keys.members, unpack(members))
    call('HSET', keys.seats, unpack(seats))
  end
  if #allowances > 0 then
    call('HSET', keys.buyers, unpack(allowances))
  end
  return packed_of
end
