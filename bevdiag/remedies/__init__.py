"""Changes that lower the peak: each applied to the config, traced again, shown as measured."""
