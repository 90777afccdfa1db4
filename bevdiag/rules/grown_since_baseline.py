"""The step takes more memory than when its baseline was recorded.

What it means:
    The peak, or what is reserved at most, exceeds the recorded figure by more than the tolerance.
    The modules that keep more for the backward pass than they did are named with it.

Why it happens:
    A change of the config, of the code behind --source, or of the library versions that the
    prediction is for; the last are reported beside the finding where they differ.

How to fix:
    Undo the change, or accept it and record the new state: bevdiag baseline write FILE CONFIG.

Seen in:
    facebookresearch/detectron2#1616 (https://github.com/facebookresearch/detectron2/issues/1616):
    training went from 3 to 5.7 GB between two releases, and was noticed on the GPU.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bevdiag.memory.oom import format_size
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A figure beyond what the baseline recorded; `what` is peak, reserved or a module's path."""

    what: str
    before_bytes: int
    now_bytes: int


def check(growth: Sequence[Growth]) -> Iterator[Finding]:
    """Yield one finding for all that has grown; the first of it is the message."""
    if growth:
        yield finding(
            "BEV311",
            f"{_change(growth[0])} since the baseline",
            detail=tuple(_change(change) for change in growth[1:]),
        )


def _change(growth: Growth) -> str:
    more = growth.now_bytes - growth.before_bytes
    was, now = format_size(growth.before_bytes), format_size(growth.now_bytes)
    return f"+{format_size(more)} in {growth.what} (from {was} to {now})"
