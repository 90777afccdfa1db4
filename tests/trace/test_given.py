from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bevdiag.trace.given import Given


class _Noting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, given: Given) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._given = given

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        self._given.note(func, args, outputs)
        return outputs


@pytest.fixture
def given() -> Iterator[Given]:
    followed = Given()
    with _Noting(followed):
        yield followed


def _meta() -> torch.Tensor:
    return torch.empty(4, 3, device="meta")


def test_what_is_made_of_inputs_alone_is_given(given: Given) -> None:
    data, feature = _meta(), _meta()
    given.add(data)
    assert given.holds(data[:, 0] > 0)
    assert given.holds(torch.cat([data, torch.zeros_like(data)]).sum())
    assert given.holds(torch.ones(2))
    assert not given.holds(data + feature)
    assert not given.holds(feature.relu())


def test_what_is_drawn_or_filled_out_of_sight_is_not(given: Given) -> None:
    data = _meta()
    given.add(data)
    assert not given.holds(torch.rand_like(data))
    assert not given.holds(torch.bernoulli(data))
    assert not given.holds(torch.empty_like(data))


def test_what_a_feature_is_written_into_is_given_no_more(given: Given) -> None:
    data, feature = _meta(), _meta()
    given.add(data)
    copied = data.clone()
    first = copied[:1]
    copied[1:].add_(feature[1:])
    assert not given.holds(copied)
    assert not given.holds(first)
    assert given.holds(data)


def test_what_an_unseen_operator_wrote_of_features_is_not_given(given: Given) -> None:
    data, feature = _meta(), _meta()
    given.add(data)
    rows = torch.zeros_like(data)
    given.overwritten((data, rows))
    assert given.holds(rows)
    given.overwritten((data, feature, rows))
    assert not given.holds(rows)
