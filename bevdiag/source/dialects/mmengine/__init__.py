"""mmdetection3d 1.x and what is built on it: Python configs, registries, `loss` mode."""
