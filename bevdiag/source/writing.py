"""Writing features into a tensor that has values: from there on it has none either."""

import sys
from collections.abc import Iterable
from typing import Any

import torch

from bevdiag.source.failures import Remedy, stopped
from bevdiag.trace.operands import as_meta, unrecorded
from bevdiag.trace.places import user_place
from bevdiag.trace.recorder import Recorder

_T = torch.Tensor
_NAMES = (
    "add_ sub_ mul_ div_ copy_ scatter_ scatter_add_ scatter_reduce_ index_add_ index_copy_ "
    "index_put_ index_fill_ masked_fill_ masked_scatter_ clamp_ logical_and_ logical_or_ lerp_ "
    "addcmul_ fill_ zero_ __iadd__ __isub__ __imul__ __itruediv__ __ior__ __iand__"
)
IN_PLACE = frozenset(getattr(_T, name) for name in _NAMES.split())
"""The methods that write into the tensor they belong to."""


def make_writable(recorder: Recorder, target: torch.Tensor, sources: Iterable[Any]) -> None:
    """Turn `target` into a meta tensor of the same memory if a source is one and it is not.

    Raises:
        NoVerdictError: others hold on to the target, a view of something larger for instance.
    """
    if target.is_meta or not any(_is_meta(source) for source in sources):
        return
    if not recorder.is_device(target):
        return
    if without_values(recorder, target):
        return
    place = user_place(sys._getframe(1))
    if not target.is_floating_point() or not torch.is_grad_enabled():
        recorder.notes.append(f"{place}: values computed from features were not written")
        return
    raise stopped(
        "features are written into a part of a tensor that holds constants, which a run without a "
        "GPU cannot follow",
        Remedy.CONSTANTS,
        place,
    )


def without_values(recorder: Recorder, target: torch.Tensor) -> bool:
    """Turn `target` into a meta tensor of the same memory; False where others hold on to it."""
    meta = unrecorded(as_meta, target)
    recorder.rehome(target, meta)
    try:
        torch.utils.swap_tensors(target, meta)  # type: ignore[no-untyped-call]
    except RuntimeError:
        recorder.rehome(meta, target)
        return False
    return True


def _is_meta(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.is_meta
    return isinstance(value, (tuple, list)) and any(_is_meta(item) for item in value)
