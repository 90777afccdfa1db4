"""What is wrong with the environment that a training would run in."""
