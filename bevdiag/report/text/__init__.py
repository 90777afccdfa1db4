"""The text report: one section a file, each a function from the result to lines."""
