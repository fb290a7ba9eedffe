-- Changes of records.

-- The record with a member, and whether it is another record.
local function with(record, label, text)
    local _, last = find(record, label, 1, true)
    if not last then
        return sub(record, 1, -3) .. label .. text .. '\n}', true
    end
    local stop = find(record, '\n', last, true)
    if sub(record, last + 1, stop - 1) == text then
        return record, false
    end
    return sub(record, 1, last) .. text .. sub(record, stop), true
end

local function without(record, label)
    local first, last = find(record, label, 1, true)
    return first and sub(record, 1, first - 1) .. sub(record, (find(record, '\n', last, true))) or record
end

local function put(key, id, record, lifetime)
    redis.call('SET', key, '{' .. sub(record, 3), 'PX', lifetime)
    if find(record, PARTS, 1, true) then
        redis.call('PEXPIRE', prefix .. 'parts:' .. id, lifetime)
    end
end
