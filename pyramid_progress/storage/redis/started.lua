-- The end of a start in a cluster, where the entries of the new run were written before. Those of the former run remain.

return old and result(1) or 1
