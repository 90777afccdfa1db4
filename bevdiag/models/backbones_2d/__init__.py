"""Dense backbones on the bird's-eye-view map."""
