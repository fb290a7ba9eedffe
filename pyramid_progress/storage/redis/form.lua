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
