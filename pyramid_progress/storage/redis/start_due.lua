-- The last step of a start: remove tasks whose records have expired from the indexes.
--
-- The sorted set PREFIX due has an entry for each owner of each id: the id, a line feed and the key of the owner's
-- index; its score is the time in ms at which its record expires, if it does not change. Every start examines some
-- entries that are due, so that the indexes lose the tasks whose record has expired.

local EXAMINED = 4

local due = prefix .. 'due'
-- As text, which is much faster than a number.
redis.call('ZADD', due, tostring(now + lifetime), id .. '\n' .. owner)
for _, member in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, EXAMINED)) do
    local its_id, its_owner = string.match(member, '^([^\n]*)\n(.*)$')
    local its_key = prefix .. 'tasks:' .. its_id
    local keys, present_owner = index_keys((get(its_key)))
    if present_owner == its_owner then
        local left = redis.call('PTTL', its_key)
        redis.call('ZADD', due, tostring(now + (left < 0 and lifetime or left)), member)
    else
        redis.call('ZREM', due, member)
        for _, name in ipairs({its_owner, 'running', 'finished', 'failed', 'cancelled'}) do
            if not keys[name] then
                redis.call('ZREM', prefix .. 'index:' .. name, its_id)
            end
        end
    end
end
return 1
