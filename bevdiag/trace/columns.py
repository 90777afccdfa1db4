"""Columns with values in a tensor that has none: what a concatenation was made of.

Detectors put the number of the sample before its features, `torch.cat((sample, features), dim=1)`,
and later pick it out again: `rows[:, 0] == 1` decides how many rows there are. Beside features the
column becomes a part of a meta tensor, but it is still known.
"""

from typing import TYPE_CHECKING, Any

import torch

from bevdiag.trace.operands import StorageNotes

if TYPE_CHECKING:
    from bevdiag.trace.recorder import Recorder

aten = torch.ops.aten

_MOST_KEPT = 1 << 22
"""Numbers of one part; a sample's number or a coordinate for each of some million points."""


class KnownColumns:
    """Follows the concatenations of one trace, along their last axis."""

    def __init__(self) -> None:
        self._known: StorageNotes[tuple[dict[int, torch.Tensor], int]] = StorageNotes()

    def joined(self, parts: Any, made: torch.Tensor) -> None:
        """`made`, [..., C] and contiguous, consists of `parts` side by side."""
        start, columns = 0, {}
        for part in parts:
            has_values = not part.is_meta and 0 < part.numel() <= _MOST_KEPT
            if has_values and part.dim() == made.dim():
                flat = part.detach().reshape(-1, part.shape[-1]).to(made.dtype)
                for place, column in enumerate(flat.unbind(1)):
                    columns[start + place] = column.clone()
            start += part.shape[-1]
        if columns:
            self._known.keep(made, (columns, start))

    def written(self, tensor: Any) -> None:
        """Forget what was known of a tensor that something was written into."""
        if isinstance(tensor, torch.Tensor):
            self._known.drop(tensor)

    def of(self, view: torch.Tensor) -> torch.Tensor | None:
        """Return the values of a view that lies in one known column, laid out alike; else None."""
        known = self._known.of(view)
        if known is None:
            return None
        columns, width = known
        place = column_of(view, width)
        column = None if place is None else columns.get(place)
        if column is None:
            return None
        strides = [stride // width for stride in view.stride()]
        values = column.as_strided(view.shape, strides, view.storage_offset() // width)
        made = torch.empty_strided(view.shape, view.stride(), dtype=view.dtype, device="cpu")
        return made.copy_(values)


def column_of(view: torch.Tensor, width: int) -> int | None:
    """Return the one column that a view of rows of `width` numbers lies in, None if in several."""
    axes = zip(view.shape, view.stride(), strict=True)
    if any(size > 1 and stride % width for size, stride in axes):
        return None
    return int(view.storage_offset()) % width


def concatenated(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Remembers the parts that have values where others have none."""
    made = recorder.run(func, args, kwargs)
    dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
    if made.is_meta and dim % made.dim() == made.dim() - 1 and made.is_contiguous():
        recorder.columns.joined(args[0], made)
    return made


def picked(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Return a view: with its values where they are known and no gradient has to pass."""
    view = recorder.run(func, args, kwargs)
    if not view.is_meta or args[0].requires_grad:
        return view
    known = recorder.columns.of(view)
    if known is None:
        return view
    recorder.share(view, known)
    return known
