-- Reading records.

-- The record of a key, nil if there is none. The second result is an error if the value is not a record.
local function get(key)
    local text = redis.pcall('GET', key)
    if not text then
        return nil
    elseif type(text) == 'string' then
        local record = '\n,' .. sub(text, 2)
        if sub(text, 1, 2) == '{"' and sub(text, -2) == '\n}' and find(record, STATUS, 1, true) then
            return record
        end
    elseif sub(text.err, 1, 9) ~= 'WRONGTYPE' then
        return nil, text
    end
    return nil, {err = 'WRONGTYPE the key ' .. key .. ' has a value that is not a record'}
end

local function value(record, label)
    local _, last = find(record, label, 1, true)
    return last and sub(record, last + 1, find(record, '\n', last, true) - 1)
end

local function has_ended(record)
    local status = value(record, STATUS)
    return status == '"finished"' or status == '"failed"' or status == '"cancelled"'
end
