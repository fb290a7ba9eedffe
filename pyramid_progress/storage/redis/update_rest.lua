-- The updates of all other records.

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

for _, i in ipairs(rest) do
    local key, changes, run = KEYS[i], '\n,' .. sub(ARGV[2 * i + 2], 2), ARGV[2 * i + 3] or ANY
    local id = sub(key, #prefix + 7)
    local old, problem = get(key)
    if problem and #KEYS == 1 then
        return problem
    end
    local new, is_moved
    if is_active then
        local is_run = old and (run == ANY or value(old, RUN) == run)
        if is_run and not has_ended(old) and find(changes, ':', 1, true) then
            new, is_moved = merge(old, changes)
        end
    elseif not old or (find(old, ACKNOWLEDGED, 1, true) and not find(old, STARTED, 1, true)) then
        new = merge('\n,"message":null\n,"length":null\n,"current":null\n}', changes)
        unlist(id)
    elseif not find(old, ACKNOWLEDGED, 1, true) then
        if not find(old, MESSAGE, 1, true) then
            old = with(old, MESSAGE, 'null')
        end
        new, is_moved = merge(old, changes)
    end
    if new then
        put(key, id, new, lifetime)
        if is_moved then
            move(id, old, new)
        end
    end
    local record = new or old
    if not record then
        answer[i] = -1
    else
        answer[i] = (has_ended(record) and ENDED or 0) + (find(record, CANCEL, 1, true) and CANCELLING or 0)
        local present = value(record, RUN)
        if run ~= ANY and present ~= run then
            local is_newer = find(record, STARTED, 1, true) and not is_less(present or '', run)
            answer[i] = is_newer and answer[i] + SUPERSEDED or -1
        end
    end
end
return result(answer)
