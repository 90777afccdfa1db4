"""From an event stream to allocated and reserved bytes; needs no torch and no GPU."""
