-- Change records. ARGV[2] is the action, 'update' or 'update_active', ARGV[3] the lifetime of the records in ms. Then
-- follow, for each of KEYS, the changes and the run that the record must be of: '*' for any. The last run may be
-- omitted, which means any as well.
--
-- The answer of 'update' is not used. That of 'update_active' has for each record its Activity, or -1 if
-- record.activity is None. A value that is not a record is an error; among several records, it stays as it is and counts
-- as none.
--
-- Nearly all changes replace members of a running task, which stays in its place in the indexes. They come first, and
-- without a function: creating and calling functions would take longer than all else. What remains is for update_rest.

local ANY, NOTHING, RUNNING = '*', '{"\n}', '{"status":"running"\n'

local is_active, lifetime = ARGV[2] == 'update_active', ARGV[3]

local answer, rest = {}, {}
for i, key in ipairs(KEYS) do
    local record, changes, run = redis.pcall('GET', key), ARGV[2 * i + 2], ARGV[2 * i + 3] or ANY
    local new
    if
        type(record) == 'string'
        and sub(record, 1, #RUNNING) == RUNNING
        and sub(record, -2) == '\n}'
        and not find(record, ACKNOWLEDGED, 1, true)
        and not find(record, CODE, 1, true)
        and not find(record, PARTS, 1, true)
        and (is_active or find(record, MESSAGE, 1, true))
        and (run == ANY or find(record, RUN .. run .. '\n', 1, true))
    then
        new = record
        local from = 2
        while from < #changes - 2 do
            local stop = find(changes, '\n', from, true)
            local line = sub(changes, from, stop)
            -- Most members keep their value. No value ends with the line of a member.
            if not find(new, line, 1, true) then
                local label = '\n,' .. sub(line, 1, (find(line, ':', 1, true)))
                local first, last = find(new, label, 1, true)
                if not first or label == RUN or label == OWNER then
                    new = nil
                    break
                end
                new = sub(new, 1, first + 1) .. line .. sub(new, find(new, '\n', last, true) + 1)
            end
            from = stop + 2
        end
    end
    if not new then
        rest[#rest + 1] = i
    else
        if changes ~= NOTHING then
            redis.call('SET', key, new, 'PX', lifetime)
        end
        answer[i] = find(new, CANCEL, 1, true) and CANCELLING or 0
    end
end
if #rest == 0 then
    return is_active and answer or nil
end
