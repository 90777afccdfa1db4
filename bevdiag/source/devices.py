"""The GPU that tensors say they are on, and what means a GPU where code names a device."""

from typing import Any

import torch

# Equal, but not the same object: what a tensor answers tells whether values follow from there.
FEATURES = torch.device("cuda", 0)
VALUES = torch.device("cuda", 0)
CPU = torch.device("cpu")


def is_cuda(device: Any) -> bool:
    """Whether a device argument means a GPU."""
    if isinstance(device, torch.device):
        return device.type == "cuda"
    if isinstance(device, str):
        return device.startswith("cuda")
    return isinstance(device, int) and not isinstance(device, bool)
