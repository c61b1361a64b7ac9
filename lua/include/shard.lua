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
local meta = call('HMGET', KEYS[1], 'generation', 'seq', 'clock_ms', 'position')
if meta[1] ~= GENERATION then
  return { -1 }
end
local seq = tonumber(meta[2])
if seq < floor then
  return { -1 }
end
local time = call('TIME')
local clock_ms = time[1] * 1000 + math.floor(time[2] / 1000)
-- Never earlier than any decision before: the clock of a promoted replica may be behind.
local now = math.max(clock_ms, tonumber(meta[3]))

-- Lua writes large numbers as 1.79e+15 when it may; this never does (exact below 2^53).
local function text(number)
  return string.format('%.0f', number)
end

-- One decision, one log entry; `fields` follow the pool and the time. It is `patient` where nobody
-- waits for its commit, so that the writer may put more into one transaction. All but the first of a
-- call `continue` the one before: what was decided in one step is committed in one transaction, else
-- a data set that is rebuilt in between would know of a full group that has not formed.
local IN_A_HURRY, PATIENT = {}, { 'patient', '1' }
local log_id
local function append(kind, count, pool_id, fields, patient)
  local id = '*'
  if clock_ms < now and call('EXISTS', KEYS[2]) == 1 then
    -- The clock is behind: ids would only count on, so that a copy of an earlier state gave them out
    -- again. This one is later than all before, too, and yet another every microsecond.
    local stream = call('XINFO', 'STREAM', KEYS[2])
    for index = 1, #stream, 2 do
      if stream[index] == 'last-generated-id' then
        local milliseconds, number = string.match(stream[index + 1], '^(%d+)-(%d+)$')
        id = milliseconds .. '-' .. text(number + 1 + time[2])
      end
    end
  end
  log_id = call('XADD', KEYS[2], id, 'kind', kind, 'generation', GENERATION,
    'seq', text(seq + 1), 'count', count,
    'payload', pool_id .. '\t' .. text(now) .. '\t' .. table.concat(fields, '\t'),
    unpack(patient and PATIENT or IN_A_HURRY))
  IN_A_HURRY, PATIENT = { 'continues', '1' }, { 'patient', '1', 'continues', '1' }
  seq = seq + count
end

-- The last write of every script that decided something.
local function close_shard()
  meta[2] = text(seq)
  meta[4] = meta[2] .. ':' .. (log_id or '')
  call('HSET', KEYS[1], 'seq', meta[2], 'clock_ms', text(now), 'position', meta[4])
end

-- Where the shard stands now: `seq:log_id`, which tells two decisions of one number apart. Without
-- the id where a script of before there were positions decided last.
local function position()
  local named = meta[4] and string.find(meta[4], meta[2], 1, true) == 1
  return named and meta[4] or meta[2] .. ':'
end
