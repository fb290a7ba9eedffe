-- Change an index in a cluster. KEYS[1] is the index, a sorted set of ids by the start of their run in ms; KEYS[2] has
-- the same ids by the time in ms at which their entries expire. ARGV[1] is the time now; then follow ids, each with a
-- start, and with the time at which the entry expires, or '' to remove the entry unless it is that of a later run.
--
-- Every change removes some entries that have expired. The index expires with its last entry.

local REMOVED = 8

local entries, due, now = KEYS[1], KEYS[2], ARGV[1]
for i = 2, #ARGV, 3 do
    local id, start, expires = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if expires ~= '' then
        redis.call('ZADD', entries, start, id)
        redis.call('ZADD', due, expires, id)
    else
        local present = redis.call('ZSCORE', entries, id)
        if present and present + 0 <= start + 0 then
            redis.call('ZREM', entries, id)
            redis.call('ZREM', due, id)
        end
    end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, REMOVED)) do
    redis.call('ZREM', entries, id)
    redis.call('ZREM', due, id)
end
local last = redis.call('ZREVRANGE', due, 0, 0, 'WITHSCORES')[2]
if last then
    redis.call('PEXPIREAT', entries, last)
    redis.call('PEXPIREAT', due, last)
end
return 0
