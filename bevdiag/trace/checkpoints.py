"""Activation checkpoints on the meta device, under versions of PyTorch that refuse them there.

A checkpoint restores the random numbers' state of its inputs' device before it recomputes. The meta
device draws none: newer versions leave the state alone there, 2.5 raises.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch


@contextmanager
def meta_checkpoints() -> Iterator[None]:
    """Inside, forking the meta device's random numbers does nothing, as in newer versions."""
    fork = torch.random.fork_rng

    def fork_rng(*args: Any, **kwargs: Any) -> AbstractContextManager[None]:
        return nullcontext() if kwargs.get("device_type") == "meta" else fork(*args, **kwargs)

    with patch.object(torch.random, "fork_rng", fork_rng):
        yield
