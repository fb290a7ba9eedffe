-- The rules of record.py, run in the server: a change is one step there, and one round trip.
--
-- KEYS[1] is the running list, a sorted set of ids; an id's score is the time in ms at which its record expires. The
-- other keys are those of records: the list's key, a colon and the id. ARGV[1] is the action.
--
-- 'start', 'update', 'update_active', 'acknowledge' and 'delete' change records. ARGV[2] is their lifetime in ms; the
-- other arguments are, for each record, the new record or the changes. The answer has for each record 1 if it changed
-- and 0 if not; that of 'update_active' has an Activity of record.py, and 0 if there is no record. A value that is not a
-- record is an error; among several records, it stays as it is and counts as none.
--
-- For 'tasks', ARGV[2] is a cursor, '0' to begin with. The answer is the next cursor, '0' at the end, and some ids.

local list, action = KEYS[1], ARGV[1]
local find, sub = string.find, string.sub

-- A record is text in the form of record.dump, except that its first line begins as all others do: so a member is found
-- by its label. Values are moved, never decoded: cjson returns other values than were written.

local STATUS, OWNER, STARTED, MESSAGE = '\n,"status":', '\n,"owner":', '\n,"started":', '\n,"message":'
local ACKNOWLEDGED, CANCEL, CODE = '\n,"_acknowledged":', '\n,"_cancel":', '\n,"_code":'

local function parse(text)
    return '\n,' .. sub(text, 2)
end

local function dump(record)
    return '{' .. sub(record, 3)
end

local function has(record, label)
    return find(record, label, 1, true) ~= nil
end

local function end_of_line(text, start)
    return find(text, '\n', start, true) - 1
end

local function value(record, label)
    local _, last = find(record, label, 1, true)
    return last and sub(record, last + 1, end_of_line(record, last))
end

-- The record with the line that begins at a position replaced.
local function with_line(record, start, line)
    return sub(record, 1, start - 1) .. line .. sub(record, end_of_line(record, start + 1) + 1)
end

local function merge(record, changes)
    local code = find(record, CODE, 1, true)
    if code and has(changes, MESSAGE) and not has(changes, CODE) then
        record = with_line(record, code, '')
    end
    local first = 1
    local colon = find(changes, '":', first, true)
    while colon do
        local last = end_of_line(changes, colon)
        local label, member = sub(changes, first, colon + 1), sub(changes, first, last)
        local old = find(record, label, 1, true)
        if old then
            record = with_line(record, old, member)
        else
            record = sub(record, 1, -3) .. member .. '\n}'
        end
        first = last + 1
        colon = find(changes, '":', first, true)
    end
    return record
end

local function is_finished(record)
    return value(record, STATUS) == '"finished"'
end

local function has_ended(record)
    local status = value(record, STATUS)
    return status == '"finished"' or status == '"failed"' or status == '"cancelled"'
end

local function is_listed(record)
    local status = value(record, STATUS)
    return has(record, STARTED) and not has(record, ACKNOWLEDGED) and status ~= '"failed"' and status ~= '"cancelled"'
end

-- The record that the action makes of an old one, which is nil if there is none; nil if the old one stays.
local function changed(old, new)
    if action == 'start' then
        if not old or not has(old, STARTED) or value(old, OWNER) == value(new, OWNER) then
            return new
        end
    elseif action == 'update' then
        if not old then
            return merge('\n,"message":null\n,"length":null\n,"current":null\n}', new)
        elseif not has(old, ACKNOWLEDGED) then
            return merge(has(old, MESSAGE) and old or MESSAGE .. 'null' .. old, new)
        end
    elseif action == 'update_active' then
        if old and has(new, ':') and not has_ended(old) then
            return merge(old, new)
        end
    elseif action == 'acknowledge' then
        if old and is_finished(old) and not has(old, ACKNOWLEDGED) then
            return merge(old, ACKNOWLEDGED .. 'true\n}')
        end
    elseif action == 'delete' then
        return '\n}'
    end
end

-- The Activity of record.py; 0 if there is no record.
local function activity(record)
    if not record then
        return 0
    elseif has_ended(record) then
        return 3
    end
    return has(record, CANCEL) and 2 or 1
end

-- The record of a key, nil if there is none. The second result is an error if the value is not a record.
local function get(key)
    local text = redis.pcall('GET', key)
    if not text then
        return nil
    elseif type(text) == 'string' then
        local record = parse(text)
        if sub(text, 1, 2) == '{"' and sub(text, -2) == '\n}' and has(record, STATUS) then
            return record
        end
    elseif sub(text.err, 1, 9) ~= 'WRONGTYPE' then
        return nil, text
    end
    return nil, {err = 'WRONGTYPE the key ' .. key .. ' has a value that is not a record'}
end

local function put(key, id, record, lifetime, now)
    if lifetime == '0' then
        redis.call('DEL', key)
    else
        redis.call('SET', key, dump(record), 'PX', lifetime)
    end
    if is_listed(record) then
        -- As text, which is much faster than a number.
        redis.call('ZADD', list, tostring(now + lifetime), id)
    else
        redis.call('ZREM', list, id)
    end
end

local function tasks(cursor)
    -- In parts, so that a long list does not block the server.
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
-- Rounded up: an entry of the list does not expire before its record.
local now = time[1] * 1000 + math.ceil(time[2] / 1000)
local lifetime = ARGV[2]
local answer = {}

if action == 'start' then
    redis.call('ZREMRANGEBYSCORE', list, '-inf', '(' .. now)
end
for i = 2, #KEYS do
    local key = KEYS[i]
    local old, problem = get(key)
    if problem and #KEYS == 2 then
        return problem
    end
    local new = not problem and changed(old, parse(ARGV[i + 1]))
    if new then
        put(key, sub(key, #list + 2), new, lifetime, now)
    end
    if action == 'update_active' then
        answer[i - 1] = activity(new or old)
    else
        answer[i - 1] = new and 1 or 0
    end
end
return answer
