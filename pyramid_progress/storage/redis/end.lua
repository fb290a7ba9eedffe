-- Acknowledge the end of a task, or delete its record. ARGV[2] is the action, 'acknowledge' or 'delete', ARGV[3] the
-- lifetime of the acknowledged record in ms; with 0, it is deleted. A delete has in ARGV[4] the run that the record must
-- be of, or '*' for any. The answer is 1 if the record changed.

local key = KEYS[1]
local id = sub(key, #prefix + 7)
local old, problem = get(key)
if problem then
    return problem
elseif not old then
    return 0
end
if ARGV[2] == 'acknowledge' then
    if value(old, STATUS) ~= '"finished"' or find(old, ACKNOWLEDGED, 1, true) then
        return 0
    elseif ARGV[3] ~= '0' then
        local new = with(old, ACKNOWLEDGED, 'true')
        put(key, id, new, ARGV[3])
        move(id, old, new)
        return result(1)
    end
elseif ARGV[4] ~= '*' and value(old, RUN) ~= ARGV[4] then
    return 0
end
redis.call('DEL', key, prefix .. 'parts:' .. id)
move(id, old, nil)
return result(1)
