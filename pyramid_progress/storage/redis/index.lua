-- Changes of the indexes of records.

-- Update the indexes after a change of a record; the old and the new one may be nil. Return the key of its owner's.
local function move(id, old, new)
    local keys, owner = index_keys(new)
    if old then
        local old_keys, old_owner = index_keys(old)
        for key in pairs(old_keys) do
            if not keys[key] then
                redis.call('ZREM', prefix .. 'index:' .. key, id)
            end
        end
        if not new and old_owner then
            redis.call('ZREM', prefix .. 'due', id .. '\n' .. old_owner)
        end
    end
    if owner then
        local start = start_time(new)
        for key in pairs(keys) do
            redis.call('ZADD', prefix .. 'index:' .. key, start, id)
        end
    end
    return owner
end

-- Take an id off the running list, which may still have it if the store lost its task.
local function unlist(id)
    redis.call('ZREM', prefix .. 'index:running', id)
end

-- What a script returns.
local function result(answer)
    return answer
end
