-- The rules of record.py, run in the server: a change is one step there, and one round trip.
--
-- KEYS[1] is the task list, a sorted set of ids; an id's score is the time in ms at which its record expires. The
-- other keys are those of records: the list's key, a colon and the id. ARGV[1] is what to do.
--
-- To 'start', 'update', 'amend', 'take' or 'discard' records, ARGV[2] is their lifetime in ms, and the others are a new
-- record, or changes, for each record. The answer has for each 1 where it changed and 0 where it did not; that of
-- 'amend' has the record as it is afterwards, or nil.
--
-- For 'tasks', ARGV[2] is a cursor, '0' to begin with. The answer is the next cursor, '0' at the end, and some ids.

local list, action = KEYS[1], ARGV[1]
local find, sub = string.find, string.sub

-- A record is text in the form of record.dump, but for its first line, which begins as all others do: so a member is
-- found by its label. Values are moved, never decoded: cjson gives back others than were written.

local STATUS, OWNER, STARTED, MESSAGE = '\n,"status":', '\n,"owner":', '\n,"started":', '\n,"message":'
local TAKEN = '\n,"_taken":'

local function has(record, label)
    return find(record, label, 1, true) ~= nil
end

local function end_of_line(text, start)
    return find(text, '\n', start, true) - 1
end

local function value(record, label)
    local _, last = find(record, label, 1, true)
    return sub(record, last + 1, end_of_line(record, last))
end

local function merge(record, changes)
    local first = 1
    local colon = find(changes, '":', first, true)
    while colon do
        local last = end_of_line(changes, colon)
        local label, member = sub(changes, first, colon + 1), sub(changes, first, last)
        local old = find(record, label, 1, true)
        if old then
            record = sub(record, 1, old - 1) .. member .. sub(record, end_of_line(record, old + 1) + 1)
        else
            record = sub(record, 1, -3) .. member .. '\n}'
        end
        first = last + 1
        colon = find(changes, '":', first, true)
    end
    return record
end

local function is_off_the_list(record)
    local status = value(record, STATUS)
    return status == '"failed"' or status == '"cancelled"'
end

local function is_finished(record)
    return value(record, STATUS) == '"finished"'
end

-- What becomes of an old record, false where there is none; nil where it must stay as it is.
local function changed(old, new)
    if action == 'start' then
        if not old or not has(old, STARTED) or value(old, OWNER) == value(new, OWNER) then
            return new
        end
    elseif action == 'update' then
        if not old then
            return merge('\n,"message":null\n,"length":null\n,"current":null\n}', new)
        elseif not has(old, TAKEN) then
            return merge(has(old, MESSAGE) and old or merge(old, MESSAGE .. 'null\n}'), new)
        end
    elseif action == 'amend' then
        if old and has(new, ':') and not is_finished(old) and not is_off_the_list(old) then
            return merge(old, new)
        end
    elseif action == 'take' then
        if old and is_finished(old) and not has(old, TAKEN) then
            return merge(old, TAKEN .. 'true\n}')
        end
    elseif action == 'discard' then
        return '\n}'
    end
end

local function tasks(cursor)
    -- A part at a time: a long list must not keep the server from everybody else.
    local part = redis.call('ZSCAN', list, cursor, 'COUNT', 500)
    local ids = {}
    for i = 1, #part[2], 2 do
        local id = part[2][i]
        -- A record may be gone before its time: evicted, or deleted by hand.
        if redis.call('EXISTS', list .. ':' .. id) == 1 then
            ids[#ids + 1] = id
        else
            redis.call('ZREM', list, id)
        end
    end
    return {part[1], ids}
end

if action == 'tasks' then
    return tasks(ARGV[2])
end

local time = redis.call('TIME')
-- Rounded up: an entry of the list lives no shorter than its record.
local now = time[1] * 1000 + math.ceil(time[2] / 1000)
local lifetime = ARGV[2]
local answer = {}

if action == 'start' then
    redis.call('ZREMRANGEBYSCORE', list, '-inf', '(' .. now)
end
for i = 2, #KEYS do
    local key = KEYS[i]
    local id = sub(key, #list + 2)
    local text = redis.call('GET', key)
    local record = changed(text and '\n,' .. sub(text, 2), '\n,' .. sub(ARGV[i + 1], 2))
    if record then
        text = '{' .. sub(record, 3)
        if lifetime == '0' then
            redis.call('DEL', key)
        else
            redis.call('SET', key, text, 'PX', lifetime)
        end
        if has(record, STARTED) and not has(record, TAKEN) and not is_off_the_list(record) then
            -- As text, which is much faster than a number.
            redis.call('ZADD', list, tostring(now + lifetime), id)
        else
            redis.call('ZREM', list, id)
        end
    end
    if action == 'amend' then
        answer[i - 1] = text
    else
        answer[i - 1] = record and 1 or 0
    end
end
return answer
