"""The command line: one command a file, each a thin shell that imports its work when it runs."""
