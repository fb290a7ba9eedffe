-- The newest entries of some indexes, in descending order of start and id: for each of KEYS, ids and starts in turn.
-- ARGV[1] is how many to return at most; with ARGV[2] and ARGV[3], only those that follow this start and id.

local limit, start, id = ARGV[1], ARGV[2], ARGV[3]

-- How many entries precede the first that follows.
local function rank(key)
    if not start then
        return 0
    end
    local low = redis.call('ZCOUNT', key, '(' .. start, '+inf')
    local high = low + redis.call('ZCOUNT', key, start, start)
    while low < high do
        local middle = math.floor((low + high) / 2)
        if is_less(redis.call('ZREVRANGE', key, middle, middle)[1], id) then
            high = middle
        else
            low = middle + 1
        end
    end
    return low
end

local answer = {}
for i, key in ipairs(KEYS) do
    local first = rank(key)
    answer[i] = redis.call('ZREVRANGE', key, first, first + limit - 1, 'WITHSCORES')
end
return answer
