"""Reports: one renderer a file, from the frozen results of diagnose/ to text and JSON."""
