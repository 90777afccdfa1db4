"""What is known of a meta tensor's values without computing them.

An interval holds them. Floats are taken to be finite, as training needs them to be. So
`torch.isnan(x).any()` is False and a mask's sum lies between 0 and its length, and a comparison
with what lies outside is decided. Views share their memory, and so their interval; rows that are
picked from a table with values have one for each column.

Columns of them are there where a concatenation was made of what has values. Detectors put the
number of the sample before its features, `torch.cat((sample, features), dim=1)`, and later pick it
out again: `rows[:, 0] == 1` decides how many rows there are.

And no training changes what is made of a step's inputs alone: an answer about such a tensor holds
for every step with these inputs.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch

from bevdiag.trace.operands import StorageNotes, stored_in, tensors_in, written_by

Interval = tuple[float, float]

_BOOL: Interval = (0.0, 1.0)
_FINITE: Interval = (-math.inf, math.inf)
"""Open at both ends: no finite value equals either."""
_MOST_READ = 1 << 22
"""Numbers of a tensor with values that are looked through for their ends."""


class Intervals:
    """Follows one trace's operations."""

    def __init__(self) -> None:
        self._known: StorageNotes[Interval] = StorageNotes()
        self._columns: StorageNotes[list[Interval]] = StorageNotes()

    def of(self, tensor: torch.Tensor) -> Interval:
        """Return the smallest and the largest value that the tensor can hold."""
        if not tensor.is_meta:
            return _ends(tensor)
        columns = self._columns.of(tensor)
        place = column_of(tensor, len(columns)) if columns else None
        if columns and place is not None:
            return columns[place]
        known = self._known.of(tensor)
        if known is not None:
            return known
        return _BOOL if tensor.dtype is torch.bool else _FINITE

    def note(self, func: Any, args: tuple[Any, ...], outputs: Any) -> None:
        """Note that an operation has made or written its outputs."""
        made = outputs[0] if isinstance(outputs, (tuple, list)) and outputs else outputs
        is_unknown = isinstance(made, torch.Tensor) and made.is_meta
        rule = _rule_of(func) if is_unknown else None
        found = rule(self, args, made) if rule is not None else None
        written = written_by(func, args, outputs)
        for place, target in enumerate(written):
            self._write(target, None if place else found)
        if not written and found is not None and not _is_view(made, args):
            self._known.keep(made, found)

    def overwritten(self, target: torch.Tensor) -> None:
        """Anything may have been written into the tensor."""
        self._write(target, None)

    def _write(self, target: torch.Tensor, found: Interval | None) -> None:
        if not target.is_meta:
            return
        self._columns.drop(target)
        if found is None:
            self._known.drop(target)
        elif target.numel() * target.element_size() < target.untyped_storage().nbytes():
            before = self.of(target)
            self._known.keep(target, (min(before[0], found[0]), max(before[1], found[1])))
        else:
            self._known.keep(target, found)

    def of_columns(self, made: torch.Tensor, table: torch.Tensor) -> None:
        """Note that the rows of `made`, [..., C], are some of `table`'s, which has values."""
        if 0 < table.numel() <= _MOST_READ:
            columns = table.detach().reshape(-1, table.shape[-1]).unbind(1)
            self._columns.keep(made, [_ends(column) for column in columns])


@cache
def _rule_of(func: Any) -> Any:
    """Find what the values of an operation's result follow from, None where nothing is known."""
    name = func._overloadpacket._qualified_op_name.removeprefix("aten::")
    return _RULES.get(name.rstrip("_") if func._schema.is_mutable else name)


def _ends(tensor: torch.Tensor) -> Interval:
    """Return the smallest and the largest of values that are there."""
    if 0 < tensor.numel() <= _MOST_READ and not tensor.is_complex():
        ends = tensor.detach().aminmax()
        low, high = (end.double().numpy().item() for end in ends)
        if low <= high:
            return low, high
    return _BOOL if tensor.dtype is torch.bool else _FINITE


def compare(name: str, left: Interval, right: Interval) -> Interval:
    """Decide a comparison: (0, 0) never, (1, 1) always, (0, 1) sometimes."""
    (a, b), (c, d) = left, right
    always = {"lt": b < c, "le": b <= c, "gt": a > d, "ge": a >= d, "eq": a == b == c == d}
    never = {"lt": a >= d, "le": a > d, "gt": b <= c, "ge": b < c, "eq": b < c or a > d}
    # Infinity bounds what is finite: nothing reaches it.
    never["eq"] = never["eq"] or (c == d and math.isinf(c) and a != b)
    always["lt"] = always["lt"] or c == math.inf
    always["gt"] = always["gt"] or d == -math.inf
    if name == "ne":
        low, high = compare("eq", left, right)
        return 1.0 - high, 1.0 - low
    if always[name]:
        return 1.0, 1.0
    return (0.0, 0.0) if never[name] else _BOOL


def _is_view(made: torch.Tensor, args: tuple[Any, ...]) -> bool:
    first = args[0] if args else None
    return (
        isinstance(first, torch.Tensor)
        and first.is_meta
        and first.untyped_storage()._cdata == made.untyped_storage()._cdata
    )


Rule = Callable[[Intervals, tuple[Any, ...], torch.Tensor], "Interval | None"]


def _number(known: Intervals, value: Any) -> Interval:
    if isinstance(value, torch.Tensor):
        return known.of(value)
    number = float(value)
    # A number that nobody has asked for yet goes by this name (see functions.py).
    return _FINITE if math.isnan(number) else (number, number)


def _comparison(name: str) -> Rule:
    def rule(known: Intervals, args: tuple[Any, ...], made: torch.Tensor) -> Interval:
        left, right = args[:2]
        if left is right:  # x == x holds unless x is not a number
            return (1.0, 1.0) if name in ("eq", "le", "ge") else (0.0, 0.0)
        return compare(name, _number(known, left), _number(known, right))

    return rule


def _same(known: Intervals, args: tuple[Any, ...], made: torch.Tensor) -> Interval | None:
    source = args[0]
    if not isinstance(source, torch.Tensor):
        return None
    return _converted(known.of(source), source.dtype, made.dtype)


def _converted(interval: Interval, source: torch.dtype, target: torch.dtype) -> Interval | None:
    """Convert the interval where its values change their type."""
    if source is target or target.is_floating_point or target.is_complex:
        return interval
    if target is torch.bool:
        return compare("ne", interval, (0.0, 0.0))
    if not all(map(math.isfinite, interval)):
        return interval
    # Towards zero; what the type does not hold wraps around.
    low, high = map(math.trunc, interval)
    kept = torch.iinfo(target)
    return (float(low), float(high)) if kept.min <= low and high <= kept.max else None


def _total(known: Intervals, args: tuple[Any, ...], made: torch.Tensor) -> Interval | None:
    source = args[0]
    low, high = known.of(source)
    if not source.numel():
        return 0.0, 0.0
    count = source.numel() // max(made.numel(), 1)
    return (low * count if low else 0.0), (high * count if high else 0.0)


def _count(known: Intervals, args: tuple[Any, ...], made: torch.Tensor) -> Interval | None:
    low, high = compare("ne", known.of(args[0]), (0.0, 0.0))
    count = args[0].numel() // max(made.numel(), 1)
    return low * count, high * count


def _any_or_all(known: Intervals, args: tuple[Any, ...], made: torch.Tensor) -> Interval | None:
    return compare("ne", known.of(args[0]), (0.0, 0.0))


def _not(known: Intervals, args: tuple[Any, ...], made: torch.Tensor) -> Interval | None:
    if made.dtype is not torch.bool:
        return None
    low, high = compare("ne", known.of(args[0]), (0.0, 0.0))
    return 1.0 - high, 1.0 - low


def _bitwise(pick: Callable[[float, float], float]) -> Rule:
    """Masks' ends, one of each pair; of the bits of numbers nothing is known."""

    def rule(known: Intervals, args: tuple[Any, ...], made: torch.Tensor) -> Interval | None:
        if made.dtype is not torch.bool:
            return None
        (a, b), (c, d) = (_number(known, value) for value in args[:2])
        return pick(a, c), pick(b, d)

    return rule


def _product(known: Intervals, args: tuple[Any, ...], made: torch.Tensor) -> Interval | None:
    (a, b), (c, d) = (_number(known, value) for value in args[:2])
    if not all(map(math.isfinite, (a, b, c, d))):
        return None
    ends = (a * c, a * d, b * c, b * d)
    return min(ends), max(ends)


def _magnitude(known: Intervals, args: tuple[Any, ...], made: torch.Tensor) -> Interval | None:
    low, high = known.of(args[0])
    smallest = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return smallest, max(abs(low), abs(high))


def _position(known: Intervals, args: tuple[Any, ...], made: torch.Tensor) -> Interval | None:
    source = args[0]
    dim = args[1] if len(args) > 1 and args[1] is not None else None
    return 0.0, float(max((source.numel() if dim is None else source.shape[dim]) - 1, 0))


def _hull(*parts: Interval) -> Interval:
    return min(low for low, _ in parts), max(high for _, high in parts)


def _either(*places: int) -> Rule:
    """Values of some of the arguments."""
    return lambda known, args, made: _hull(*(_number(known, args[place]) for place in places))


def _copied(known: Intervals, args: tuple[Any, ...], made: torch.Tensor) -> Interval | None:
    return _converted(_number(known, args[1]), args[1].dtype, args[0].dtype)


def _put(known: Intervals, args: tuple[Any, ...], made: torch.Tensor) -> Interval | None:
    accumulates = len(args) > 3 and args[3]
    return None if accumulates else _hull(known.of(args[0]), known.of(args[2]))


def _joined(known: Intervals, args: tuple[Any, ...], made: torch.Tensor) -> Interval | None:
    parts = [known.of(part) for part in args[0] if part.numel()]
    return _hull(*parts) if parts else None


def _rows(known: Intervals, args: tuple[Any, ...], made: torch.Tensor) -> Interval | None:
    table, indices = args[:2]
    picks_rows = indices[0] is not None and all(index is None for index in indices[1:])
    if not table.is_meta and picks_rows and table.dim() > indices[0].dim() > 0:
        known.of_columns(made, table)
    return known.of(table)


def _between(low: float, high: float) -> Rule:
    return lambda known, args, made: (low, high)


_RULES: dict[str, Rule] = {
    **{name: _comparison(name) for name in ("lt", "le", "gt", "ge", "eq", "ne")},
    **dict.fromkeys(("isnan", "isinf"), _between(0.0, 0.0)),
    **dict.fromkeys(("zeros", "zeros_like", "new_zeros", "zero"), _between(0.0, 0.0)),
    **dict.fromkeys(("ones", "ones_like", "new_ones"), _between(1.0, 1.0)),
    **dict.fromkeys(("full", "full_like", "fill"), _either(1)),
    **dict.fromkeys(
        (
            *("_to_copy", "clone", "max", "min", "amax", "amin", "mean", "median", "repeat"),
            *("gather", "index_select", "masked_select", "sort", "topk", "flip", "_unique2"),
        ),
        _same,
    ),
    "index": _rows,
    "copy": _copied,
    "where": _either(1, 2),
    "index_put": _put,
    "masked_fill": _either(0, 2),
    **dict.fromkeys(("cat", "stack"), _joined),
    "sum": _total,
    "count_nonzero": _count,
    **dict.fromkeys(("any", "all"), _any_or_all),
    **dict.fromkeys(("logical_not", "bitwise_not"), _not),
    **dict.fromkeys(("logical_and", "bitwise_and"), _bitwise(min)),
    **dict.fromkeys(("logical_or", "bitwise_or"), _bitwise(max)),
    "mul": _product,
    "abs": _magnitude,
    **dict.fromkeys(("relu", "exp"), _between(0.0, math.inf)),
    **dict.fromkeys(("sigmoid", "_softmax"), _between(0.0, 1.0)),
    **dict.fromkeys(("argmax", "argmin"), _position),
}
"""By operation, without the underscore of those that write in place."""


# -- columns ---------------------------------------------------------------------------------------


class KnownColumns:
    """Follows the concatenations of one trace, along their last axis."""

    def __init__(self) -> None:
        self._known: StorageNotes[tuple[dict[int, torch.Tensor], int]] = StorageNotes()

    def joined(self, parts: Any, made: torch.Tensor) -> None:
        """`made`, [..., C] and contiguous, consists of `parts` side by side."""
        start, columns = 0, {}
        for part in parts:
            has_values = not part.is_meta and 0 < part.numel() <= _MOST_READ
            if has_values and part.dim() == made.dim():
                flat = part.detach().reshape(-1, part.shape[-1]).to(made.dtype)
                for place, column in enumerate(flat.unbind(1)):
                    columns[start + place] = column.clone()
            start += part.shape[-1]
        if columns:
            self._known.keep(made, (columns, start))

    def written(self, tensor: torch.Tensor) -> None:
        """Forget what was known of a tensor that something was written into."""
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


# -- inputs ----------------------------------------------------------------------------------------


class GivenInputs:
    """Follows one trace's operations from the inputs on."""

    def __init__(self) -> None:
        self._given: StorageNotes[bool] = StorageNotes()
        self._has_inputs = False

    def add(self, tensor: torch.Tensor) -> None:
        """Note that the tensor is an input."""
        self._has_inputs = True
        self._given.keep(tensor, True)

    def holds(self, tensor: torch.Tensor) -> bool:
        """Whether nothing but inputs went into its values."""
        return not tensor.is_meta or self._given.of(tensor) is True

    def note(self, func: Any, args: tuple[Any, ...], outputs: Any) -> None:
        """Note that an operation has made or written its outputs."""
        if not self._has_inputs:
            return
        made = [tensor for tensor in stored_in((outputs,)) if tensor.is_meta]
        written = written_by(func, args, outputs)
        is_given = _is_determined(func) and all(map(self.holds, tensors_in(args, {})))
        for tensor in (*made, *written):
            if not tensor.is_meta:
                continue
            if is_given:
                self._given.keep(tensor, True)
            elif written or not self.holds(tensor):
                self._given.drop(tensor)

    def overwritten(self, tensors: Sequence[torch.Tensor]) -> None:
        """Note that unseen code reads and writes these: one feature goes into all."""
        if not all(map(self.holds, tensors)):
            for tensor in tensors:
                self._given.drop(tensor)


def _is_determined(func: Any) -> bool:
    """Whether the arguments that are seen here decide the result."""
    if torch.Tag.nondeterministic_seeded in func.tags:
        return False
    # What is made empty is filled by a kernel that no operation shows.
    if "empty" in func._schema.name:
        return False
    return not any(
        argument.kwarg_only and "Tensor" in str(argument.type)
        for argument in func._schema.arguments
    )
