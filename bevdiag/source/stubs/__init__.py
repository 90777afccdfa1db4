"""Modules that take the place of what a repository imports and no machine without a GPU has."""
