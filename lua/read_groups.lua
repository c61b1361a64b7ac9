#!lua flags=no-writes
--[[ read_groups: some groups with their first seats, those paid first, as of one instant.
KEYS  1 shard_meta   2 reservations   3 groups   4 group_members
ARGV  1 pool_id   2 seats_max (of each group)   3… groups, at most 100
RETURNS {status, now_ms, position, part…}: for each group it ('' where there is none), how many
      seats follow, and for each of those its digest and its packed record
      0 OK   -1 FENCED
WHY   a page shows a group and who is in it as they were at one moment. ]]
--#include shard

local answer = { 0, now, position() }
local packed = call('HMGET', KEYS[3], unpack(ARGV, 3))
for index = 1, #packed do
  local group, count_place = ARGV[2 + index], #answer + 2
  local found = packed[index]
  local known = found and string.match(found, '^[^\t]*\t[^\t]*\t([^\t]*)\t') == ARGV[1]
  answer[count_place - 1], answer[count_place] = known and found or '', 0
  local members = known and call('ZRANGEBYLEX', KEYS[4], '[' .. group .. 'a', '(' .. group .. 'c',
    'LIMIT', 0, ARGV[2]) or {}
  for _, member in ipairs(members) do
    local digest = string.sub(member, -16)
    local record = call('HGET', KEYS[2], digest)
    if record then
      answer[#answer + 1], answer[#answer + 2] = digest, record
      answer[count_place] = answer[count_place] + 1
    end
  end
end
return answer
