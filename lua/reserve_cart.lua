#!lua
--[[ reserve_cart: hold every line of one buyer's cart in this shard, or none.
KEYS  1 shard_meta   2 shard_log   3 reservations   4 due
      and for each line   pool   deadlines   buyers   retired
ARGV  1 cart   2 buyer   and for each line   pool_id   digest   quantity; a pool that comes twice is
      refused, so whoever asks adds its lines up; where anything is attested, that at the end
      (include/eligibility.lua)
RETURNS {status, now_ms, position, first_seq, verdicts, available…, record…}: one character, 48
      above the number, one number and one packed record a line ('' where there is none; audience
      and channels with a tab between where they refused it); nothing is held unless all lines may
      be
      0 HELD   1 REFUSED   -1 FENCED
VERDICTS  0 HELD   1 REPLAYED   2 MISMATCH   3 SOLD_OUT   4 BUYER_LIMIT   5 NOT_STARTED   6 ENDED
      7 PAUSED   8 UNKNOWN_POOL   9 NOT_ELIGIBLE   10 GROUP_ONLY
WHY   a cart that lacks one line must not keep units from others, not even for a moment. ]]
--#include shard
--#include record
--#include buyers
--#include expiry
--#include waves
--#include eligibility

local cart, buyer = ARGV[1], ARGV[2]
local count = math.floor((#ARGV - 2) / 3)
local attests = #ARGV > 2 + 3 * count and ARGV[#ARGV] or ''
local verdicts, available, records, lines = {}, {}, {}, {}
local pools_seen, digests_seen = {}, {}
local wanted = {} -- by where the buyers' units are counted: pools of a group share that
local refused = false
local seq_before = seq

local function verdict_of(line, pool)
  local ends_at_ms, limit = tonumber(pool[6]), tonumber(pool[3])
  if pool[1] == 'closed' or (ends_at_ms > 0 and now >= ends_at_ms) then
    return 6
  elseif pool[1] == 'paused' then
    return 7
  elseif now < tonumber(pool[5]) then
    return 5
  end
  local lets_in = doorkeeper(pool[10], pool[11])
  if lets_in and not lets_in(attests) then
    return 9
  end
  local taken = wanted[line.buyers] or tonumber(call('HGET', line.buyers, buyer) or 0)
  if pool[12] ~= 'payment' then
    wanted[line.buyers] = taken + line.quantity
  end
  if limit > 0 and taken + line.quantity > limit then
    return 4
  end
  return line.quantity > line.available and 3 or 0
end

-- Brings the pool to this instant: due waves, and expired holds where stock is short.
local function settle(line, pool)
  local released = release_due_waves(line.pool_id, line.pool, pool[8], tonumber(pool[9]))
  if released > 0 then
    call('HINCRBY', line.pool, 'available', released)
    call('HINCRBY', line.pool, 'locked', -released)
  end
  line.available = tonumber(pool[2]) + released
  if line.available < line.quantity then
    local units = release_expired(line.pool_id, { reservations = KEYS[3],
      deadlines = line.deadlines, buyers = line.buyers, retired = line.retired },
      RECLAIM_BATCHES_MAX, line.quantity - line.available)
    if units > 0 then
      line.available = call('HINCRBY', line.pool, 'available', units)
      call('HINCRBY', line.pool, 'held', -units)
    end
  end
end

for index = 1, count do
  local key, argument = 4 * index, 3 * index
  local line = { pool = KEYS[key + 1], deadlines = KEYS[key + 2], buyers = KEYS[key + 3],
    retired = KEYS[key + 4], pool_id = ARGV[argument], digest = ARGV[argument + 1],
    quantity = tonumber(ARGV[argument + 2]), available = 0 }
  line.tail = text(line.quantity) .. '\t' .. line.pool_id .. '\t' .. buyer .. '\t' .. cart
  local pool = call('HMGET', line.pool, 'state', 'available', 'per_buyer_limit', 'hold_ms',
    'starts_at_ms', 'ends_at_ms', 'grants', 'waves', 'locked', 'audience', 'channels',
    'deduct', 'group_buy')
  local known = call('HGET', KEYS[3], line.digest)
  local verdict = 0
  if pools_seen[line.pool_id] or digests_seen[line.digest] then
    verdict = 2 -- each line is measured against the whole pool, and has a record of its own
  elseif known then
    verdict = same_payload(known, line.tail) and 1 or 2
  elseif not pool[1] then
    verdict = 8
  elseif (pool[13] or '') ~= '' then
    verdict = 10
  else
    settle(line, pool)
    line.rules = pool
  end
  pools_seen[line.pool_id], digests_seen[line.digest] = true, true
  lines[index], verdicts[index] = line, verdict
  records[index] = verdict == 1 and known or ''
  available[index] = line.available
end
-- Once all pools are settled: what expired in one may count for the limit of another.
for index, line in ipairs(lines) do
  verdicts[index] = line.rules and verdict_of(line, line.rules) or verdicts[index]
  refused = refused or verdicts[index] > 1
  if verdicts[index] == 9 then
    records[index] = (line.rules[10] or '') .. '\t' .. (line.rules[11] or '')
  end
end

local first_seq = seq + 1
if not refused then
  for index, line in ipairs(lines) do
    if verdicts[index] == 0 then
      local mode = line.rules[12]
      local takes_units = mode ~= 'payment'
      local deadline_ms = mode == 'order' and NO_DEADLINE_MS or now + tonumber(line.rules[4])
      records[index] = (takes_units and 'h' or 'o') .. string.format('%013.0f', deadline_ms)
        .. '\t' .. GENERATION .. '\t'
        .. text(seq + 1) .. '\t' .. line.tail
      if takes_units then
        available[index] = call('HINCRBY', line.pool, 'available', -line.quantity)
        call('HINCRBY', line.pool, 'held', line.quantity)
        call('HINCRBY', line.buyers, buyer, line.quantity)
      end
      call('HINCRBY', line.pool, 'grants', 1)
      call('HSET', KEYS[3], line.digest, records[index])
      call('ZADD', line.deadlines, deadline_ms, line.digest)
      call('ZADD', KEYS[4], 'LT', deadline_ms, line.pool_id)
      local fields = { text(deadline_ms), line.digest, buyer, text(line.quantity), cart }
      if takes_units then
        append('held', 1, line.pool_id, fields)
      else
        append('ordered', 1, line.pool_id, fields)
      end
    end
  end
end
for index, verdict in ipairs(verdicts) do
  verdicts[index] = string.char(48 + verdict)
end
if seq > seq_before then
  close_shard()
end
local answer = { refused and 1 or 0, now, position(), first_seq, table.concat(verdicts) }
for index = 1, count do
  answer[5 + index], answer[5 + count + index] = available[index], records[index]
end
return answer
