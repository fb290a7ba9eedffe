-- The last step of a change that ends a task: the last of its parts has ended.

move(id, old, new)
return result(cancelling + LAST)
