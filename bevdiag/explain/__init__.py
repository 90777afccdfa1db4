"""`bevdiag explain`: from the text of a failure to the allocation that failed."""
