-- Remove ids from an index. ARGV[2] is its key in the form of record.index_keys; the other arguments are ids. Those
-- whose records belong there stay, with the start of their run.

local key = ARGV[2]
for i = 3, #ARGV do
    local record = get(prefix .. 'tasks:' .. ARGV[i])
    if index_keys(record)[key] then
        redis.call('ZADD', KEYS[1], start_time(record), ARGV[i])
    else
        redis.call('ZREM', KEYS[1], ARGV[i])
    end
end
return 0
