#!lua flags=allow-oom
--[[ restore: one write to a data set that is being rebuilt, refused once it is open.
KEYS  1 shard_meta   2 target
ARGV  1 command (HSET, ZADD, SET, UNLINK)   2… its arguments after the key
RETURNS {status}
      0 OK   -1 FENCED
WHY   while a shard is rebuilt its generation is the rebuilder's token, and this script is loaded
      with that token: a rebuilder that was overtaken can't write into the newer data set. Each
      write names the position it follows, exactly: where some were lost on the way, none goes on
      from there. It may use more than maxmemory: a shard that can't be opened can't be paid. ]]
--#include shard

if seq ~= floor then
  return { -1 }
end
call(ARGV[1], KEYS[2], unpack(ARGV, 2))
return { 0 }
