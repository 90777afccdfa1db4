"""What is wrong with a detector's memory, and which change mends it at what cost."""
