-- The end of a task with the last of its parts.

move(id, old, new)
return result(cancelling + LAST)
