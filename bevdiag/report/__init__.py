"""Reports: one renderer a file, from frozen results to text and JSON."""
