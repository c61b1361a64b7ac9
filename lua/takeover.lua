#!lua flags=allow-oom
--[[ takeover: close a shard to everyone but one recoverer, unless a newer one was here.
KEYS  1 shard_meta
ARGV  1 generation (the recoverer's, already won in SQL)   2 token (begins with the generation)
RETURNS {status, seq}: the log position this data set stands at, or -1 if it has none
      0 TAKEN   1 OVERTAKEN
WHY   a recoverer that slept through its lease must not close what its successor has opened. ]]
local meta = redis.call('HMGET', KEYS[1], 'generation', 'seq')
local current = tonumber(string.match(meta[1] or '0', '^%d+'))
if current > tonumber(ARGV[1]) or (current == tonumber(ARGV[1]) and meta[1] ~= ARGV[2]) then
  return { 1, -1 }
end
redis.call('HSET', KEYS[1], 'generation', ARGV[2])
return { 0, tonumber(meta[2] or -1) }
