"""Voxel feature encoders."""
