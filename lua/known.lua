#!lua flags=no-writes
--[[ known: the digests of every request this pool has granted and still remembers.
KEYS  1 shard_meta   2 pool   3 deadlines   4 retired
ARGV  1 digests_max
RETURNS {status, now_ms, grants, batch…}: `batch` is digests of 16 characters each
      0 OK   1 TOO_MANY   -1 FENCED   -2 UNKNOWN_POOL
WHY   a process may answer "sold out" by itself only to those who hold nothing already. ]]
--#include shard

local grants = call('HGET', KEYS[2], 'grants')
if not grants then
  return { -2 }
end
local PAGE = 100
local length_max = tonumber(ARGV[1]) * 16
local answer, length = { 0, now, tonumber(grants) }, 0
for _, waiting in ipairs({ KEYS[3], KEYS[4] }) do
  -- A batch has one digest at least: most pools that are too large are refused unread.
  if call('ZCARD', waiting) > tonumber(ARGV[1]) then
    return { 1 }
  end
  local first = 0
  repeat
    local batches = call('ZRANGE', waiting, first, first + PAGE - 1)
    for _, batch in ipairs(batches) do
      answer[#answer + 1] = batch
      length = length + #batch
    end
    if length > length_max then
      return { 1 }
    end
    first = first + PAGE
  until #batches < PAGE
end
return answer
