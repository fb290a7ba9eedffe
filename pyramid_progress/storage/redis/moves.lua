-- In a cluster, the indexes are on other nodes: a script returns the records whose place in them may have changed.

local moved

local function move(_, old, new)
    moved = {old and '{' .. sub(old, 3) or false, new and '{' .. sub(new, 3) or false}
end

local function unlist() end

-- What a script returns: its answer, and if a record moved, also the old and the new one.
local function result(answer)
    return moved and {answer, moved[1], moved[2]} or answer
end
