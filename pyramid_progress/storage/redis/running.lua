-- A part of the running list. ARGV[1] is the prefix of all keys, ARGV[2] a cursor, '0' to begin with. The answer is the
-- next cursor, '0' at the end, and some ids. In parts, so that a long list does not block the server.

local part = redis.call('ZSCAN', KEYS[1], ARGV[2], 'COUNT', 500)
local ids = {}
for i = 1, #part[2], 2 do
    local id = part[2][i]
    -- The record may have expired.
    if redis.call('EXISTS', ARGV[1] .. 'tasks:' .. id) == 1 then
        ids[#ids + 1] = id
    end
end
return {part[1], ids}
