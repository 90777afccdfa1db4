"""A report as one self-contained page: no network, nothing to install, light and dark."""
