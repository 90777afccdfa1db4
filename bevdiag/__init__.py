"""bevdiag: what a 3D detector's training step will ask of a GPU, before it is launched."""

__version__ = "0.1.0"
