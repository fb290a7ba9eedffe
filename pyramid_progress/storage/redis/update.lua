-- Change records. ARGV[2] is the action, 'update' or 'update_active', ARGV[3] the lifetime of the records in ms. Then
-- follow, for each of KEYS, the changes and the run that the record must be of, or '*' for any.
--
-- The answer of 'update_active' has for each record its Activity, or -1 if record.activity is None. A value that is not
-- a record is an error; among several records, it stays as it is and counts as none.

local ANY = '*'

local is_active = ARGV[2] == 'update_active'

-- The record that changes make of an old one, and whether it may have moved in the indexes.
local function merge(record, changes)
    if find(changes, MESSAGE, 1, true) and not find(changes, CODE, 1, true) then
        record = without(record, CODE)
    end
    local is_moved, is_changed = false, false
    for label, text in string.gmatch(changes, '(\n,"[^"]*":)([^\n]*)') do
        record, is_changed = with(record, label, text)
        if is_changed and (label == STATUS or label == RUN or label == ACKNOWLEDGED or label == OWNER) then
            is_moved = true
        end
    end
    return record, is_moved
end

-- Records that need more functions, which is seldom.
local rest = {}

local answer = {}
for i, key in ipairs(KEYS) do
    local id, changes, run = sub(key, #prefix + 7), '\n,' .. sub(ARGV[2 * i + 2], 2), ARGV[2 * i + 3]
    local old, problem = get(key)
    if problem and #KEYS == 1 then
        return problem
    end
    local is_run, is_ended = true, false
    local new, is_moved
    if is_active then
        if old then
            is_run, is_ended = run == ANY or value(old, RUN) == run, has_ended(old)
            if is_run and not is_ended and find(changes, ':', 1, true) then
                new, is_moved = merge(old, changes)
            end
        end
    elseif not old or (find(old, ACKNOWLEDGED, 1, true) and not find(old, STARTED, 1, true)) then
        new = merge('\n,"message":null\n,"length":null\n,"current":null\n}', changes)
        -- If the store lost a task with this id, the running list may still have it.
        redis.call('ZREM', prefix .. 'index:running', id)
    elseif not find(old, ACKNOWLEDGED, 1, true) then
        if not find(old, MESSAGE, 1, true) then
            old = MESSAGE .. 'null' .. old
        end
        new, is_moved = merge(old, changes)
    end
    if new then
        put(key, id, new, ARGV[3])
    end
    local record = new or old
    if is_moved or not is_run then
        rest[#rest + 1] = {i, id, old, new, run}
    elseif record then
        answer[i] = (is_ended and ENDED or 0) + (find(record, CANCEL, 1, true) and CANCELLING or 0)
    else
        answer[i] = -1
    end
end
if #rest == 0 then
    return answer
end
