"""Predictions held against measured training steps."""
