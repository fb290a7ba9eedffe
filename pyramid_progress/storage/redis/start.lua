-- Start a run. ARGV[2] is the mode of record.Start, ARGV[3] the lifetime of the record in ms, ARGV[4] the record, ARGV[5]
-- the time in ms by this server's clock. The answer is 1 if it started.

local key, mode, lifetime = KEYS[1], ARGV[2], ARGV[3]
local id, new = sub(key, #prefix + 7), '\n,' .. sub(ARGV[4], 2)
local now = ARGV[5]

local function is_in_use(record)
    if has_ended(record) then
        return false
    end
    local heartbeat = value(record, '\n,"_heartbeat":')
    if heartbeat then
        for of_part in string.gmatch(record, '\n,"_p%d+":([^\n]+)') do
            heartbeat = math.min(heartbeat, of_part)
        end
        return now + 0 <= (heartbeat + 15) * 1000
    end
    return now + 0 <= ((value(record, '\n,"_changed":') or 0) + 900) * 1000
end

local old, problem = get(key)
if problem then
    return problem
elseif old and mode == 'new' then
    local run = value(old, RUN)
    if not run or run ~= value(new, RUN) then
        return 0
    end
elseif old and find(old, STARTED, 1, true) then
    if mode == 'restore' then
        if not is_less(value(old, RUN) or '', value(new, RUN)) then
            return 0
        end
    elseif value(old, OWNER) ~= value(new, OWNER) and is_in_use(old) then
        local _, old_owner = index_keys(old)
        local _, new_owner = index_keys(new)
        if old_owner ~= new_owner then
            return 0
        end
    end
end
redis.call('SET', key, ARGV[4], 'PX', lifetime)
if find(new, PARTS, 1, true) or (old and find(old, PARTS, 1, true)) then
    redis.call('DEL', prefix .. 'parts:' .. id)
end
local owner = move(id, old, new)
if has_ended(new) and not index_keys(new).running then
    unlist(id)
end
