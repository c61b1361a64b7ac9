-- Opens the shard: refuses a data set that is not ours, and settles what time it is.
-- Shard and generation are part of the script text. A server that does not know the text is not
-- the one this generation was opened on, whatever another shard has loaded there since; the
-- comparison tells of a generation that is over. A server that was a replica for a while knows the
-- text still, and may have become a copy of one that was behind: so the last argument of every call
-- is a position that the caller knows SQL to have, and what stands below it is not ours either.
local GENERATION = '@GENERATION@' -- of shard @SHARD@
local RETENTION_MS = @RETENTION_MS@
local call = redis.call

local floor = tonumber(table.remove(ARGV))
local meta = call('HMGET', KEYS[1], 'generation', 'seq', 'clock_ms')
if meta[1] ~= GENERATION then
  return { -1 }
end
local seq = tonumber(meta[2])
if seq < floor then
  return { -1 }
end
local time = call('TIME')
-- Never earlier than any decision before: the clock of a promoted replica may be behind.
local now = math.max(time[1] * 1000 + math.floor(time[2] / 1000), tonumber(meta[3]))

-- Lua writes large numbers as 1.79e+15 when it may; this never does (exact below 2^53).
local function text(number)
  return string.format('%.0f', number)
end

-- One decision, one log entry; `fields` follow the pool and the time. It is `patient` where nobody
-- waits for its commit, so that the writer may put more into one transaction. All but the first of a
-- call `continue` the one before: what was decided in one step is committed in one transaction, else
-- a data set that is rebuilt in between would know of a full group that has not formed.
local IN_A_HURRY, PATIENT = {}, { 'patient', '1' }
local function append(kind, count, pool_id, fields, patient)
  call('XADD', KEYS[2], '*', 'kind', kind, 'generation', GENERATION, 'seq', text(seq + 1),
    'count', count, 'payload', pool_id .. '\t' .. text(now) .. '\t' .. table.concat(fields, '\t'),
    unpack(patient and PATIENT or IN_A_HURRY))
  IN_A_HURRY, PATIENT = { 'continues', '1' }, { 'patient', '1', 'continues', '1' }
  seq = seq + count
end

-- The last write of every script that decided something.
local function close_shard()
  call('HSET', KEYS[1], 'seq', text(seq), 'clock_ms', text(now))
end
