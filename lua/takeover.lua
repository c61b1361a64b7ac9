#!lua flags=allow-oom
--[[ takeover: close a shard to everyone but one recoverer, unless a newer one was here.
KEYS  1 shard_meta
ARGV  1 generation (the recoverer's, already won in SQL)   2 token (begins with the generation)
RETURNS {status, seq, opened_generation}: the log position this data set stands at (below 0: there
      is none, or it was left half rebuilt), and the generation it was last open under (0: never)
      0 TAKEN   1 OVERTAKEN
WHY   a recoverer that slept through its lease must not close what its successor has opened. ]]
local meta = redis.call('HMGET', KEYS[1], 'generation', 'seq', 'opened_generation')
local current = tonumber(string.match(meta[1] or '0', '^%d+'))
if current > tonumber(ARGV[1]) or (current == tonumber(ARGV[1]) and meta[1] ~= ARGV[2]) then
  return { 1, -1, 0 }
end
redis.call('HSET', KEYS[1], 'generation', ARGV[2])
if not meta[2] then
  redis.call('HSET', KEYS[1], 'seq', -1, 'clock_ms', 0)
end
return { 0, tonumber(meta[2] or -1), tonumber(meta[3] or 0) }
