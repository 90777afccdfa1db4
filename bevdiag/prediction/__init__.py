"""What a training step will ask of a GPU: traced, simulated and judged, in one frozen value."""
