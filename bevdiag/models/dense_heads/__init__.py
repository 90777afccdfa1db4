"""Heads that predict boxes from the bird's-eye-view map."""
