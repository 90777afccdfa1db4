"""From sparse 3D features to a dense bird's-eye-view map."""
