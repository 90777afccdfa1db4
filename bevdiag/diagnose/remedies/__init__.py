"""Changes that lower the peak: each is applied to the config, traced again, and shown as measured."""
