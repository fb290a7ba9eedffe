-- The end of an update of records that moved, or that are of other runs.

for _, case in ipairs(rest) do
    local i, id, old, new, run = case[1], case[2], case[3], case[4], case[5]
    local record = new or old
    if new then
        move(id, old, new)
    end
    local present = value(record, RUN)
    answer[i] = (has_ended(record) and ENDED or 0) + (find(record, CANCEL, 1, true) and CANCELLING or 0)
    if run ~= ANY and present ~= run then
        local is_newer = find(record, STARTED, 1, true) and not is_less(present or '', run)
        answer[i] = is_newer and answer[i] + SUPERSEDED or -1
    end
end
return answer
