"""The software and hardware that a training runs on: read, never guessed, and without torch."""
