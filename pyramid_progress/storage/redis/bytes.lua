-- Whether a text is less than another by their bytes, as the server orders them: Lua's operator compares by the rules of
-- the server's language.
local function is_less(text, other)
    for i = 1, math.min(#text, #other) do
        local left, right = string.byte(text, i), string.byte(other, i)
        if left ~= right then
            return left < right
        end
    end
    return #text < #other
end
