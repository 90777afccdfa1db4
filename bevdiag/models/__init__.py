"""Detectors as ordinary modules, built from settings; what they allocate is what the originals do."""
