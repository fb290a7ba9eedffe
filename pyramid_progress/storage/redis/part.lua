-- The rules of model/parts.py. ARGV[2] is the action, 'start' or 'update', ARGV[3] the lifetime of both records in ms,
-- ARGV[4] the number of the part, ARGV[5] the run of the task, ARGV[6] that of the part, ARGV[7] the heartbeat or the
-- changes. The answer is an Activity, or -1 if there is none.
--
-- The records of the parts of a task are in a hash, by their numbers.

local LAST = 8 -- another flag of Activity

local FAILED, CANCELLED, FAILURE, FAILURE_CODE =
    '\n,"_failed":', '\n,"_cancelled":', '\n,"_failure":', '\n,"_failure_code":'
local PARTS_ENDED, CURRENT, RESULT = '\n,"_ended":', '\n,"current":', '\n,"result":'
local CHANGED, LAST_RUN = '\n,"_changed":', '\n,"_last":'

local key, lifetime, number, part_run = KEYS[1], ARGV[3], ARGV[4], ARGV[6]
local id = sub(key, #prefix + 7)
local parts, heartbeat_label = prefix .. 'parts:' .. id, '\n,"_p' .. number .. '":'

local function count(record, label, difference)
    return (with(record, label, string.format('%d', (value(record, label) or 0) + difference)))
end

-- The record with what a part has completed, before and now.
local function add(record, new, old)
    local total = value(record, CURRENT)
    local sum = (total == 'null' and 0 or total) + new - old
    -- 0 is added because the text of a negative zero is '-0'.
    return (with(record, CURRENT, string.format('%.17g', sum + 0)))
end

-- The task with the message of a record, with its code.
local function with_message(task, source, label, code_label)
    task = with(task, MESSAGE, value(source, label) or 'null')
    local code = value(source, code_label)
    return code and with(task, CODE, code) or without(task, CODE)
end

local function started(task, part)
    if part then
        task = add(task, '0', value(part, CURRENT))
        if has_ended(part) then
            local status = value(part, STATUS)
            task = count(task, PARTS_ENDED, -1)
            if status ~= '"finished"' then
                task = count(task, status == '"failed"' and FAILED or CANCELLED, -1)
            end
            if value(task, FAILED) == '0' then
                task = without(without(task, FAILURE), FAILURE_CODE)
            end
        end
    end
    part = '\n,"_run":' .. part_run .. '\n,"status":"running"\n,"current":0\n}'
    return with(task, heartbeat_label, ARGV[7]), part
end

local function ended(task, status, changes)
    task = count(without(task, heartbeat_label), PARTS_ENDED, 1)
    if status ~= '"finished"' then
        task = count(task, status == '"failed"' and FAILED or CANCELLED, 1)
    end
    if status == '"failed"' and not find(task, FAILURE, 1, true) then
        task = with(task, FAILURE, value(changes, MESSAGE) or 'null')
        local code = value(changes, CODE)
        task = code and with(task, FAILURE_CODE, code) or task
    end
    if value(task, PARTS_ENDED) + 0 < value(task, PARTS) + 0 then
        return task
    end
    task = with(task, LAST_RUN, part_run)
    local changed = value(changes, CHANGED)
    if changed then
        task = with(task, CHANGED, changed)
    end
    if (value(task, FAILED) or 0) + 0 > 0 then
        return with_message(with(task, STATUS, '"failed"'), task, FAILURE, FAILURE_CODE)
    end
    status = (value(task, CANCELLED) or 0) + 0 > 0 and '"cancelled"' or '"finished"'
    return with_message(with(task, STATUS, status), changes, MESSAGE, CODE)
end

local function updated(task, part, changes)
    local status, current = value(changes, STATUS), value(changes, CURRENT)
    local heartbeat = value(changes, '\n,"_heartbeat":')
    if current then
        task, part = add(task, current, value(part, CURRENT)), with(part, CURRENT, current)
    end
    if heartbeat then
        task = with(task, heartbeat_label, heartbeat)
    end
    if status then
        part = with(part, STATUS, status)
    end
    if has_ended(part) then
        local given = value(changes, RESULT)
        if given then
            task = with(task, RESULT, given)
        end
        task = ended(task, status, changes)
    elseif find(changes, MESSAGE, 1, true) then
        task = with_message(task, changes, MESSAGE, CODE)
    end
    return task, part
end

local old, problem = get(key)
if problem then
    return problem
elseif not old or not find(old, PARTS, 1, true) then
    return -1
end
local part = redis.call('HGET', parts, number)
part = part and '\n,' .. sub(part, 2)
local is_other, is_ended = value(old, RUN) ~= ARGV[5], has_ended(old)
if ARGV[2] == 'update' then
    if not part then
        return -1
    end
    is_other = is_other or value(part, RUN) ~= part_run
    is_ended = is_ended or has_ended(part)
end
local cancelling = find(old, CANCEL, 1, true) and CANCELLING or 0
if is_other or is_ended then
    local is_repeated = ARGV[2] == 'update' and not is_other and value(old, LAST_RUN) == part_run
        and value('\n,' .. sub(ARGV[7], 2), STATUS)
    return cancelling + (is_other and SUPERSEDED or 0) + (is_ended and ENDED or 0) + (is_repeated and LAST or 0)
end
local new
if ARGV[2] == 'start' then
    new, part = started(old, part)
else
    new, part = updated(old, part, '\n,' .. sub(ARGV[7], 2))
end
redis.call('SET', key, '{' .. sub(new, 3), 'PX', lifetime)
redis.call('HSET', parts, number, '{' .. sub(part, 3))
redis.call('PEXPIRE', parts, lifetime)
if not has_ended(new) then
    return cancelling
end
