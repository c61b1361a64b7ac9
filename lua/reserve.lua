#!lua
--[[ reserve: decide a batch of requests for one pool, in order, in one atomic step.
KEYS  1 shard_meta   2 shard_log   3 pool   4 reservations   5 deadlines   6 buyers   7 retired
      8 due
ARGV  1 pool_id   2 units_wanted (by the whole batch)   3… all digests, then all buyers, then all
      quantities: three columns of the same length, at most 128; where anything is attested, one
      more: a line for each item (include/eligibility.lua)
RETURNS {status, now_ms, available, grants, position, first_seq, deadline_ms, fast, next_wave_ms,
      starts_at_ms, per_buyer_limit, ordered, audience_and_channels, verdicts, record…}:
      `verdicts` is one character an item, 48 above the number, and a packed record follows for
      each REPLAYED one; `ordered` is 1 where HELD ones take no units before they are paid;
      audience and channels stand there (a tab between) where they refused one
      0 OK   -1 FENCED   -2 UNKNOWN_POOL
VERDICTS  0 HELD   1 REPLAYED   2 MISMATCH   3 SOLD_OUT   4 BUYER_LIMIT   5 NOT_STARTED   6 ENDED
      7 PAUSED   9 NOT_ELIGIBLE   10 GROUP_ONLY
WHY   counters, records, limits and the event change together or not at all, and whatever can
      be paid once for the batch is: one call of each command, one log entry, one deadline. ]]
--#include shard
--#include record
--#include buyers
--#include expiry
--#include waves

local pool_id = ARGV[1]
local count = math.floor((#ARGV - 2) / 3)
local pool = call('HMGET', KEYS[3], 'state', 'available', 'held', 'per_buyer_limit', 'hold_ms',
  'starts_at_ms', 'ends_at_ms', 'durability', 'waves', 'special', 'grants', 'group_buy')
if not pool[1] then
  return { -2 }
end
local available, held = tonumber(pool[2]), tonumber(pool[3])
local limit = tonumber(pool[4])
local starts_at_ms, ends_at_ms = tonumber(pool[6]), tonumber(pool[7])
local grants = tonumber(pool[11])
local seq_before = seq

local next_wave_ms = 0
if pool[9] ~= '' then
  local locked = tonumber(call('HGET', KEYS[3], 'locked'))
  local released
  released, next_wave_ms = release_due_waves(pool_id, KEYS[3], pool[9], locked)
  if released > 0 then
    available = available + released
    call('HSET', KEYS[3], 'locked', locked - released)
  end
end
local group_only = (pool[12] or '') ~= ''
if available < tonumber(ARGV[2]) and not group_only then
  local units = release_expired(pool_id, { reservations = KEYS[4], deadlines = KEYS[5],
    buyers = KEYS[6], retired = KEYS[7] }, RECLAIM_BATCHES_MAX, tonumber(ARGV[2]) - available)
  available, held = available + units, held - units
end

-- What the pool as a whole says to anyone new; a replay is answered whatever it says.
local refusal
if group_only then
  refusal = 10
elseif pool[1] == 'closed' or (ends_at_ms > 0 and now >= ends_at_ms) then
  refusal = 6
elseif pool[1] == 'paused' then
  refusal = 7
elseif now < starts_at_ms then
  refusal = 5
end

-- Most pools let everyone in and hold until a deadline: they pay for none of this.
local lets_in, attested, unmet, refused_by = nil, {}, '', ''
local takes_units, deadline_ms = true, now + tonumber(pool[5])
if pool[10] == '1' then
--#include eligibility
  local rules = call('HMGET', KEYS[3], 'audience', 'channels', 'deduct')
  lets_in = doorkeeper(rules[1], rules[2])
  refused_by = (rules[1] or '') .. '\t' .. (rules[2] or '')
  if lets_in and #ARGV > 2 + 3 * count then
    for line in string.gmatch(ARGV[#ARGV] .. '\n', '([^\n]*)\n') do
      attested[#attested + 1] = line
    end
  end
  takes_units = rules[3] ~= 'payment'
  deadline_ms = rules[3] == 'order' and NO_DEADLINE_MS or deadline_ms
end

local first_seq = seq + 1
local head = (takes_units and 'h' or 'o') .. string.format('%013.0f', deadline_ms) .. '\t'
  .. GENERATION .. '\t' .. text(first_seq) .. '\t'
local middle = '\t' .. pool_id .. '\t'
local existing = call('HMGET', KEYS[4], unpack(ARGV, 3, 2 + count))
local taken = call('HMGET', KEYS[6], unpack(ARGV, 3 + count, 2 + 2 * count))
local verdicts, replays, granted, totals = {}, {}, {}, {}
local records, allowances, fields, digests = {}, {}, { text(deadline_ms) }, {}
local granted_count = 0

for index = 1, count do
  local digest, buyer = ARGV[2 + index], ARGV[2 + count + index]
  local quantity_text = ARGV[2 + 2 * count + index]
  local known = existing[index] or granted[digest]
  if known then
    if same_payload(known, quantity_text .. middle .. buyer .. '\t') then
      verdicts[index] = 1
      replays[#replays + 1] = known
    else
      verdicts[index] = 2
    end
  elseif refusal then
    verdicts[index] = refusal
  elseif lets_in and not lets_in(attested[index] or '') then
    verdicts[index] = 9
    unmet = refused_by
  else
    local quantity = tonumber(quantity_text)
    local total = (totals[buyer] or tonumber(taken[index] or 0)) + quantity
    if limit > 0 and total > limit then
      verdicts[index] = 4
    elseif quantity > available then
      verdicts[index] = 3
    else
      if takes_units then
        available, held = available - quantity, held + quantity
        totals[buyer] = total
      end
      local packed = head .. quantity_text .. middle .. buyer .. '\t'
      granted[digest] = packed
      granted_count = granted_count + 1
      local pair, quad = 2 * granted_count, 4 * granted_count
      digests[granted_count] = digest
      records[pair - 1], records[pair] = digest, packed
      allowances[pair - 1], allowances[pair] = buyer, total
      fields[quad - 2], fields[quad - 1], fields[quad], fields[quad + 1] =
        digest, buyer, quantity_text, ''
      verdicts[index] = 0
    end
  end
end

if granted_count > 0 then
  grants = grants + granted_count
  call('HSET', KEYS[4], unpack(records))
  local patient = pool[8] == 'fast'
  if takes_units then
    -- A buyer who stands twice in the batch is written twice, in order: the last total stays.
    call('HSET', KEYS[6], unpack(allowances))
    append('held', granted_count, pool_id, fields, patient)
  else
    append('ordered', granted_count, pool_id, fields, patient)
  end
  if deadline_ms == NO_DEADLINE_MS then
    for _, digest in ipairs(digests) do
      call('ZADD', KEYS[5], deadline_ms, digest)
    end
  else
    call('ZADD', KEYS[5], deadline_ms, table.concat(digests))
  end
  call('ZADD', KEYS[8], 'LT', deadline_ms, pool_id)
end
if seq > seq_before then
  call('HSET', KEYS[3], 'available', available, 'held', held, 'grants', grants)
  close_shard()
end
if group_only then
  for index, verdict in ipairs(verdicts) do
    verdicts[index] = string.char(48 + verdict)
  end
end
return { 0, now, available, grants, position(), first_seq, deadline_ms,
  pool[8] == 'fast' and 1 or 0, next_wave_ms, starts_at_ms, limit, takes_units and 0 or 1, unmet,
  table.concat(verdicts), unpack(replays) }
