-- The indexes that a record is in.

-- A set of the keys of the indexes that a record, which may be nil, is in; and the key of its owner's.
local function index_keys(record)
    if not record or not find(record, STARTED, 1, true) then
        return {}
    end
    local owner, status = value(record, OWNER), value(record, STATUS)
    if owner == 'null' then
        owner = 'ownerless'
    elseif sub(owner, 1, 1) ~= '"' then
        owner = 'owner:' .. owner
    elseif find(owner, '\\', 1, true) then
        owner = 'owner:' .. cjson.decode('[' .. owner .. ']')[1]
    else
        owner = 'owner:' .. sub(owner, 2, -2)
    end
    local keys = {[owner] = true}
    if has_ended(record) then
        keys[sub(status, 2, -2)] = true
    end
    if status ~= '"failed"' and status ~= '"cancelled"' and not find(record, ACKNOWLEDGED, 1, true) then
        keys.running = true
    end
    return keys, owner
end

local function start_time(record)
    return string.match(value(record, RUN) or '', '^"(%d+)') or '0'
end
