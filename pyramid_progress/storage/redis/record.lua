-- The form of records, as model/record.py has it: the first part of every script that reads or changes records.
--
-- ARGV[1] is the prefix of all keys. The record of an id is at the key PREFIX tasks:ID, the hash of its parts at
-- PREFIX parts:ID, and the indexes of record.index_keys, sorted sets of ids by the start of their run in ms, at
-- PREFIX index:KEY.
--
-- Here a record is text in the form of record.dump, except that its first line begins as all others do: so a member is
-- found by its label. Values are moved, never decoded: cjson returns other values than were written.
--
-- At every call, the server creates the functions of a script anew. This takes longer than most of what they do: a script
-- is put together from those files whose functions it needs, and what it seldom needs comes last.

local find, sub = string.find, string.sub
local prefix = ARGV[1]

local STATUS, OWNER, STARTED, MESSAGE = '\n,"status":', '\n,"owner":', '\n,"started":', '\n,"message":'
local RUN, ACKNOWLEDGED, CANCEL, CODE = '\n,"_run":', '\n,"_acknowledged":', '\n,"_cancel":', '\n,"_code":'
local PARTS = '\n,"_parts":'

-- The flags of Activity.
local ENDED, CANCELLING, SUPERSEDED = 1, 2, 4

-- The record of a key, nil if there is none. The second result is an error if the value is not a record.
local function get(key)
    local text = redis.pcall('GET', key)
    if not text then
        return nil
    elseif type(text) == 'string' then
        local record = '\n,' .. sub(text, 2)
        if sub(text, 1, 2) == '{"' and sub(text, -2) == '\n}' and find(record, STATUS, 1, true) then
            return record
        end
    elseif sub(text.err, 1, 9) ~= 'WRONGTYPE' then
        return nil, text
    end
    return nil, {err = 'WRONGTYPE the key ' .. key .. ' has a value that is not a record'}
end

local function value(record, label)
    local _, last = find(record, label, 1, true)
    return last and sub(record, last + 1, find(record, '\n', last, true) - 1)
end

local function has_ended(record)
    local status = value(record, STATUS)
    return status == '"finished"' or status == '"failed"' or status == '"cancelled"'
end
