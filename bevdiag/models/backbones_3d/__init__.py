"""Sparse 3D backbones."""
