"""Detectors as ordinary modules; what they allocate is what the originals allocate."""
