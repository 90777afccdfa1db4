"""One training step on meta tensors, recorded as the stream of allocations a GPU would see."""
