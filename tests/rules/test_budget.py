"""Where there is little room left, or none but what the allocator gives back."""

from types import SimpleNamespace
from typing import Any

import pytest

from bevdiag.memory.verdict import Verdict
from bevdiag.rules.budget import within_margin

GIB = 2**30


def _evidence(reserved: int, **target: Any) -> Any:
    usual = {
        "gpu": "rtx3090",
        "capacity_bytes": 23 * GIB,
        "is_capped": False,
        "profile": None,
        "doubt_bytes": 0,
    }
    return SimpleNamespace(
        target=SimpleNamespace(**{**usual, "context_bytes": GIB, **target}),
        high=SimpleNamespace(max_reserved_bytes=reserved, peak=SimpleNamespace(module="head")),
        verdict=Verdict.FITS,
    )


@pytest.mark.parametrize(
    ("reserved", "said"),
    [
        (22 * GIB + 2**29, "fits rtx3090 with 512.00 MiB to spare, but"),
        (24 * GIB, "fits rtx3090 where the allocator gives cached memory back on the way, but"),
    ],
)
def test_what_is_left_is_said(reserved: int, said: str) -> None:
    (found,) = within_margin(_evidence(reserved))
    assert said in found.message
    assert found.module == "head"
    (of_no_gpu,) = within_margin(_evidence(reserved, gpu=None))
    assert of_no_gpu.message == found.message.replace("rtx3090", "the budget")


@pytest.mark.parametrize(
    "evidence",
    [
        _evidence(20 * GIB),
        _evidence(23 * GIB, profile="h200"),
        _evidence(23 * GIB, is_capped=True),
        _evidence(23 * GIB, capacity_bytes=None),
    ],
)
def test_enough_room_or_a_measured_context_is_no_finding(evidence: Any) -> None:
    assert list(within_margin(evidence)) == []
