from typing import Any

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from bevdiag.trace.checkpoints import meta_checkpoints


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_a_checkpoint_is_recomputed_where_fork_rng_refuses_the_meta_device(
    use_reentrant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **options: Any) -> None:
        raise RuntimeError(f"torch has no module of {options['device_type']}")

    monkeypatch.setattr(torch.random, "fork_rng", refuse)
    inputs = torch.empty(3, device="meta", requires_grad=True)
    with meta_checkpoints():
        checkpoint(torch.sin, inputs, use_reentrant=use_reentrant).sum().backward()
    assert inputs.grad is not None
    assert torch.random.fork_rng is refuse


def test_other_devices_get_their_random_numbers_back() -> None:
    torch.manual_seed(0)
    with meta_checkpoints():
        with torch.random.fork_rng(devices=[], device_type="cuda"):
            first = torch.rand(3)
        assert torch.equal(torch.rand(3), first)
