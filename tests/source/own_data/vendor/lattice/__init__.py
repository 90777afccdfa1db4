"""A package that is brought along, to be installed by its own setup.py."""

STEP = 2
