"""spconv's switches that decide what it allocates, under their names in `spconv.constants`."""

SPCONV_USE_DIRECT_TABLE = True
"""Find a layer's outputs with a hash table, else by sorting; see `models.interfaces`."""
FIRST_GENERATION = False
"""Whether layers are spconv 1's: the native algorithm throughout, and outputs found in a dense
table of one int32 a cell of every sample."""
