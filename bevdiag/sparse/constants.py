"""spconv's switches that decide what it allocates, under their names in `spconv.constants`."""

SPCONV_USE_DIRECT_TABLE = True
"""Find a layer's outputs with a hash table, else by sorting; see `models.wiring`."""
