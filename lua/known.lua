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
-- A batch has one digest at least, so this bounds the reply before it is read.
if call('ZCARD', KEYS[3]) + call('ZCARD', KEYS[4]) > tonumber(ARGV[1]) then
  return { 1 }
end
local answer = { 0, now, tonumber(grants) }
for _, waiting in ipairs({ KEYS[3], KEYS[4] }) do
  for _, batch in ipairs(call('ZRANGE', waiting, 0, -1)) do
    answer[#answer + 1] = batch
  end
end
return answer
