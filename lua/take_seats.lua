#!lua
--[[ take_seats: decide a batch of requests for seats in one pool's groups, in order, in one step.
KEYS  1 shard_meta   2 shard_log   3 pool   4 reservations   5 deadlines   6 buyers   7 retired
      8 due   9 groups   10 group_members   11 group_seats   12 open_groups   13 group_deadlines
ARGV  1 pool_id   2 units_wanted (by the whole batch)   3… all digests, then all buyers, then all
      quantities, then what each wants (open, join:<group>, match): four columns of the same
      length, at most 128; where anything is attested, one more: a line for each item
RETURNS {status, now_ms, available, grants, position, first_seq, deadline_ms, fast, next_wave_ms,
      starts_at_ms, per_buyer_limit, ordered, audience_and_channels, verdicts, group_count,
      group…, packed_group…, record…}: as reserve does, with a packed record for each HELD one too;
      the groups are those of HELD items, and of those refused as full or over
      0 OK   -1 FENCED   -2 UNKNOWN_POOL   -3 NOT_A_GROUP_BUY
VERDICTS  0 HELD   1 REPLAYED   2 MISMATCH   3 SOLD_OUT   4 BUYER_LIMIT   5 NOT_STARTED   6 ENDED
      7 PAUSED   9 NOT_ELIGIBLE   11 GROUP_UNKNOWN   12 GROUP_FULL   13 GROUP_OVER
      14 SEATS_LIMIT   15 GROUPS_LIMIT   16 OPEN_LIMIT
WHY   a seat and its unit are taken together or not at all, whoever else asks; and what can be paid
      once for the batch is, as in reserve. ]]
--#include shard
--#include record
--#include buyers
--#include expiry
--#include waves
--#include eligibility
--#include group_record
--#include groups
--#include group_release
--#include group_choice
--#include group_batch

local pool_id = ARGV[1]
local count = math.floor((#ARGV - 2) / 4)
local settings = call('HMGET', keys.pool, 'state', 'hold_ms', 'starts_at_ms', 'ends_at_ms',
  'durability', 'grants', 'audience', 'channels', 'group_buy')
if not settings[1] then
  return { -2 }
elseif (settings[9] or '') == '' then
  return { -3 }
end
local pool, rules, seq_before = read_pool(), parse_group_rules(settings[9]), seq
local starts_at_ms, ends_at_ms = tonumber(settings[3]), tonumber(settings[4])
local grants, limit = tonumber(settings[6]), pool.limit

-- Places of seats that have expired are free from that moment on, whoever sweeps.
local released, next_wave_ms = release_due_waves(pool_id, keys.pool, pool.waves, pool.locked)
pool.available, pool.locked = pool.available + released, pool.locked - released
release_seats(pool_id, pool, RECLAIM_BATCHES_MAX, math.huge)
close_groups(pool_id, pool)
if #touched > 0 then
  save_groups(pool)
end

local refusal
if settings[1] == 'closed' or (ends_at_ms > 0 and now >= ends_at_ms) then
  refusal = 6
elseif settings[1] == 'paused' then
  refusal = 7
elseif now < starts_at_ms then
  refusal = 5
end
local lets_in, attested, unmet = doorkeeper(settings[7], settings[8]), {}, ''
if #ARGV > 2 + 4 * count then
  for line in string.gmatch(ARGV[#ARGV] .. '\n', '([^\n]*)\n') do
    attested[#attested + 1] = line
  end
end
local seats_end_ms, groups_end_ms = now + tonumber(settings[2]), now + rules.life_ms
if ends_at_ms > 0 then
  groups_end_ms = math.min(groups_end_ms, ends_at_ms)
end
local digests, buyers = { unpack(ARGV, 3, 2 + count) }, { unpack(ARGV, 3 + count, 2 + 2 * count) }
local quantities = { unpack(ARGV, 3 + 2 * count, 2 + 3 * count) }
local wants = { unpack(ARGV, 3 + 3 * count, 2 + 4 * count) }
local existing = call('HMGET', keys.reservations, unpack(digests))
local taken = call('HMGET', keys.buyers, unpack(buyers))
read_batch(wants, buyers)
local verdicts, totals, granted, answers, told, told_of = {}, {}, {}, {}, {}, {}

local function tell(group)
  if not told_of[group.digest] then
    told_of[group.digest] = true
    told[#told + 1] = group
  end
end

-- Was this record made by a request with the same payload? Whoever is matched takes any group.
local function same_seat(packed, digest, index)
  local tail = quantities[index] .. '\t' .. pool_id .. '\t' .. buyers[index] .. '\tg:'
  local wanted = wants[index]
  if wanted ~= 'match' then
    tail = tail .. (wanted == 'open' and digest or string.sub(wanted, 6))
  end
  local stored = string.match(packed, '^[^\t]*\t[^\t]*\t[^\t]*\t(.*)$')
  return string.sub(stored, 1, #tail) == tail
end

-- A new group, which comes into being with its first seat; or the verdict that refuses it.
local function group_to_open(digest, buyer)
  if rules.groups_max > 0 and count_of('', buyer) >= rules.groups_max then
    return nil, 15
  elseif rules.open_max > 0 and pool.groups_open >= rules.open_max then
    return nil, 16
  end
  return { digest = digest, state = 'o', deadline_ms = groups_end_ms, rules = rules,
    rules_text = settings[9], pool_id = pool_id, pending = 0, paid = 0, house = 0,
    opener = digest, is_new = true }
end

local function choose(index, digest, buyer, said)
  local wanted = wants[index]
  if wanted == 'match' then
    local group = group_to_match(buyer, said)
    if group then
      return group
    end
  elseif wanted ~= 'open' then
    return group_to_join(pool_id, string.sub(wanted, 6), buyer, said)
  end
  return group_to_open(digest, buyer)
end

local function verdict_of(index, digest, buyer)
  local said, quantity = attested[index] or '', tonumber(quantities[index])
  if refusal then
    return refusal
  elseif lets_in and not lets_in(said) then
    unmet = (settings[7] or '') .. '\t' .. (settings[8] or '')
    return 9
  end
  local group, verdict = choose(index, digest, buyer, said)
  if verdict == 9 then
    unmet = 'new\t'
  elseif verdict == 12 or verdict == 13 then
    tell(group)
  end
  if verdict then
    return verdict
  end
  local total = (totals[buyer] or tonumber(taken[index] or 0)) + quantity
  if limit > 0 and total > limit then
    return 4
  elseif quantity > pool.available then
    return 3
  end
  if not group.rules.at_forming then
    pool.available, pool.held = pool.available - quantity, pool.held + quantity
    totals[buyer] = total
  end
  if group.is_new then
    group.is_new, group.is_opened, groups[digest] = false, true, group
    pool.groups_open = pool.groups_open + 1
    opened[#opened + 1], candidates[#candidates + 1] = group, group
    moved = true
  elseif wants[index] ~= 'match' then
    moved = true
  end
  tell(group)
  granted[digest] = grant(pool_id, group, digest, buyer, quantities[index],
    math.min(seats_end_ms, group.deadline_ms))
  return 0
end

for index, digest in ipairs(digests) do
  local known = existing[index] or granted[digest]
  if not known then
    verdicts[index] = verdict_of(index, digest, buyers[index])
  elseif same_seat(known, digest, index) then
    verdicts[index] = 1
  else
    verdicts[index] = 2
  end
  if verdicts[index] < 2 then
    answers[#answers + 1] = existing[index] or digest
  end
  verdicts[index] = string.char(48 + verdicts[index])
end

local first_seq = seq + 1
if #opened > 0 then
  write_opened(pool_id, groups_end_ms, settings[9])
end
local packed_of = write_granted(pool_id, totals, settings[5] == 'fast')
if seq > seq_before then
  grants = grants + granted_count
  call('HSET', keys.pool, 'grants', grants)
  save_groups(pool)
  close_shard()
end
local answer = { 0, now, pool.available, grants, position(), first_seq, seats_end_ms,
  settings[5] == 'fast' and 1 or 0, next_wave_ms, starts_at_ms, limit,
  rules.at_forming and 1 or 0, unmet, table.concat(verdicts), #told }
for _, group in ipairs(told) do
  answer[#answer + 1] = group.digest
end
for _, group in ipairs(told) do
  answer[#answer + 1] = pack_group(group)
end
for _, known in ipairs(answers) do
  answer[#answer + 1] = packed_of[known] or known
end
return answer
