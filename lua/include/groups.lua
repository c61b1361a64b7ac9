-- The groups this call has to do with. Seats change them here; they are written once, at the end.
-- `pool` is the pool's counters as the call has them (`read_pool`), written at the end too.
local keys = { pool = KEYS[3], reservations = KEYS[4], deadlines = KEYS[5], buyers = KEYS[6],
  retired = KEYS[7], due = KEYS[8], groups = KEYS[9], members = KEYS[10], seats = KEYS[11],
  open = KEYS[12], ends = KEYS[13] }
local groups, touched = {}, {}

local function read_pool()
  local fields = call('HMGET', keys.pool, 'available', 'held', 'sold', 'locked', 'groups_open',
    'waves', 'state', 'per_buyer_limit')
  return {
    available = tonumber(fields[1]), held = tonumber(fields[2]), sold = tonumber(fields[3]),
    locked = tonumber(fields[4]), groups_open = tonumber(fields[5] or 0), waves = fields[6],
    state = fields[7], limit = tonumber(fields[8]),
  }
end

local function group_of(digest)
  if groups[digest] == nil then
    local packed = call('HGET', keys.groups, digest)
    groups[digest] = packed and parse_group(digest, packed) or false
  end
  return groups[digest]
end

local function touch(group)
  if not group.touched then
    group.touched = true
    touched[#touched + 1] = group
  end
end

-- A record that is a seat, with what only seats have.
local function seat_of(digest, packed)
  local seat = parse_record(packed)
  seat.digest, seat.packed = digest, packed
  seat.held_seq, seat.group = string.match(seat.stamp, '^\t%d+\t(%d+)\t.*\tg:([^\t]+)$')
  return seat
end

-- Paid seats come first, in the order of payment; then pending ones, in that of their asking.
local function member_of(seat)
  local order_index = string.match(seat.payment, '\t(%d+)\t%d+$')
  return seat.group .. (order_index and 'a' or 'b')
    .. string.format('%016.0f', tonumber(order_index or seat.held_seq)) .. seat.digest
end

local function first_members(group, from, count)
  return call('ZRANGEBYLEX', keys.members, '[' .. group.digest .. from,
    '(' .. group.digest .. 'c', 'LIMIT', 0, count)
end

local function count_seat(seat)
  if call('HINCRBY', keys.seats, seat.group .. '\t' .. seat.buyer, 1) == 1 then
    call('HINCRBY', keys.seats, '\t' .. seat.buyer, 1)
  end
end

local function uncount_seat(seat)
  for _, field in ipairs({ seat.group .. '\t' .. seat.buyer, '\t' .. seat.buyer }) do
    if call('HINCRBY', keys.seats, field, -1) > 0 then
      break -- another seat of the buyer is left in the group: they are still in it
    end
    call('HDEL', keys.seats, field)
  end
end

local function new_ended(group_digest)
  return { records = {}, allowance = {}, e = {}, x = {}, v = {}, withdrawn = {},
    refunded = { group_digest } }
end

-- A seat ends: units, allowance and place come back. `letter` is that of its state after: u where
-- it was paid. What is to be written and logged of it gathers in `ended`.
local function end_seat(pool, seat, letter, ended)
  local group, quantity = group_of(seat.group), seat.quantity
  local part = (seat.state == 'c' or seat.state == 'p') and 'paid' or 'pending'
  if seat.state == 'h' then
    pool.held, pool.available = pool.held - quantity, pool.available + quantity
  elseif seat.state == 'c' then
    pool.sold, pool.available = pool.sold - quantity, pool.available + quantity
  end
  if seat.state ~= 'o' then
    ended.allowance[seat.buyer] = (ended.allowance[seat.buyer] or 0) + quantity
  end
  call('ZREM', keys.members, member_of(seat))
  uncount_seat(seat)
  if group then
    group[part] = group[part] - 1
    group.opener_left = group.opener_left or group.opener == seat.digest
    touch(group)
  end
  local records, fields = ended.records, ended[letter]
  records[#records + 1] = seat.digest
  records[#records + 1] = letter .. string.sub(seat.packed, 2)
  if part == 'paid' then
    fields = ended.refunded
    for _, field in ipairs({ seat.digest, seat.state, quantity, seat.buyer,
      string.match(seat.payment, '^[^\t]*') }) do
      fields[#fields + 1] = field
    end
  elseif seat.state == 'o' then
    ended.withdrawn[#ended.withdrawn + 1] = { seat.digest, quantity, letter }
  else
    fields[#fields + 1] = seat.digest
    fields[#fields + 1] = quantity
  end
end

local function write_ended(ended)
  if #ended.records > 0 then
    call('HSET', keys.reservations, unpack(ended.records))
    give_allowance_back(keys.buyers, ended.allowance)
  end
end

-- Writes every group that changed, where it stands in the lists, and the pool's counters. A group
-- without a seat left to settle is remembered as long as a request is. A call has to do with some
-- hundred groups: what it releases and settles is bounded, and so is what Lua can hand to a command.
local function save_groups(pool)
  local packed, listed, unlisted, ends = {}, {}, {}, {}
  for _, group in ipairs(touched) do
    packed[#packed + 1] = group.digest
    packed[#packed + 1] = pack_group(group)
    if group.state == 'o' and seats_missing(group) > 0 then
      listed[#listed + 1] = open_score(group)
      listed[#listed + 1] = group.digest
    else
      unlisted[#unlisted + 1] = group.digest
    end
    if group.state ~= 'o' and group.pending == 0 and (group.state == 'f' or group.paid == 0) then
      ends[#ends + 1] = now + RETENTION_MS
      ends[#ends + 1] = group.digest
    end
  end
  if #packed > 0 then
    call('HSET', keys.groups, unpack(packed))
  end
  if #listed > 0 then
    call('ZADD', keys.open, unpack(listed))
  end
  if #unlisted > 0 then
    call('ZREM', keys.open, unpack(unlisted))
  end
  if #ends > 0 then
    call('ZADD', keys.ends, unpack(ends))
  end
  call('HSET', keys.pool, 'available', pool.available, 'held', pool.held, 'sold', pool.sold,
    'locked', pool.locked, 'groups_open', pool.groups_open)
end
