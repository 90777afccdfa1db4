"""What is said of a step that cannot run."""

import pytest
import torch
from torch import nn

from bevdiag.errors import ConfigError, NoVerdictError
from bevdiag.trace.failure import failures_reported


class _Inner(nn.Module):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise self.error


def _reported(error: Exception) -> str:
    model = nn.Sequential(nn.Identity(), nn.Sequential(_Inner(error)))
    with pytest.raises(NoVerdictError) as reported, failures_reported():
        model(torch.empty(1))
    return str(reported.value)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shapes\n  differ"),
        ValueError("shapes differ"),
        OverflowError("shapes differ"),
        MemoryError("shapes differ"),
    ],
)
def test_the_innermost_module_is_named(error: Exception) -> None:
    assert _reported(error) == "the training step stops in 1.0: shapes differ"


def test_an_error_without_words_is_named_by_its_kind() -> None:
    assert _reported(MemoryError()) == "the training step stops in 1.0: MemoryError"


def test_long_words_are_cut() -> None:
    assert len(_reported(RuntimeError("x" * 10_000))) < 500


def test_outside_of_modules_nothing_is_named() -> None:
    with pytest.raises(NoVerdictError) as reported, failures_reported():
        torch.empty(2**62, 2**62, device="meta")
    assert str(reported.value).startswith("the training step cannot run: Storage size")


def test_an_error_of_the_user_passes() -> None:
    with pytest.raises(ConfigError), failures_reported():
        raise ConfigError("expected another number")


def test_a_defect_passes() -> None:
    with pytest.raises(KeyError), failures_reported():
        raise KeyError("block")
