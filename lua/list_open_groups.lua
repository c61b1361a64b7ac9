#!lua flags=no-writes
--[[ list_open_groups: a page of the groups that can be joined, the nearest to full and end first.
KEYS  1 shard_meta   2 pool   3 groups   4 open_groups
ARGV  1 pool_id   2 limit   3 score   4 digest: of the last one seen, or '' to begin
RETURNS {status, now_ms, position, more, part…}: for each group its digest, score and packed group
      0 OK   -1 FENCED   -2 UNKNOWN_POOL   -3 NOT_A_GROUP_BUY
WHY   a group whose deadline has passed is not shown, whether or not any sweeper runs. ]]
--#include shard

local pool = call('HMGET', KEYS[2], 'state', 'group_buy')
if not pool[1] then
  return { -2 }
elseif (pool[2] or '') == '' then
  return { -3 }
end
local PAGES_MAX = 8 -- looked at, where many have ended and nobody has swept
local limit, first = tonumber(ARGV[2]), 0
if ARGV[3] ~= '' then
  if tonumber(call('ZSCORE', KEYS[4], ARGV[4]) or -1) == tonumber(ARGV[3]) then
    first = call('ZRANK', KEYS[4], ARGV[4]) + 1
  else
    first = call('ZCOUNT', KEYS[4], '-inf', '(' .. ARGV[3])
  end
end
local answer, shown, more = { 0, now, position(), 0 }, 0, false
for _ = 1, PAGES_MAX do
  local page = call('ZRANGE', KEYS[4], first, first + limit, 'WITHSCORES')
  for index = 1, #page, 2 do
    local packed = not more and call('HGET', KEYS[3], page[index])
    local live = packed and tonumber(string.match(packed, '^%a(%d+)')) > now
    more = more or live and shown == limit
    if live and not more then
      shown = shown + 1
      answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] =
        page[index], page[index + 1], packed
    end
  end
  first = first + limit + 1
  if more or #page <= 2 * limit then
    break
  end
end
answer[4] = more and 1 or 0
return answer
