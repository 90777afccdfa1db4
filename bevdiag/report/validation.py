"""Measured rows beside their predictions, as text, Markdown and JSON."""

from collections.abc import Iterator
from typing import Any

from bevdiag.diagnose.validation.outcome import Outcome, Validation
from bevdiag.report.amounts import format_bytes
from bevdiag.report.canonical_json import dumps
from bevdiag.report.printable import printable

_HEADER = (
    "row", "batch", "autocast", "measured", "predicted", "error", "low", "high", "covered",
    "reserved", "error", "parameters",
)  # fmt: skip


def render_validation(validation: Validation) -> str:
    """One line a row, then median, maximum and coverage."""
    rows = [_HEADER, *(_cells(outcome) for outcome in validation.predicted)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = [_line(row, widths) for row in rows]
    lines += ["", *_summary(validation), *_missing(validation)]
    return "\n".join(lines) + "\n"


def validation_markdown(validation: Validation) -> str:
    """The same as a Markdown table."""
    lines = [f"| {' | '.join(_HEADER)} |", "|" + "---|" * len(_HEADER)]
    lines += [f"| {' | '.join(_cells(outcome))} |" for outcome in validation.predicted]
    lines += ["", *(f"- {line}" for line in _summary(validation))]
    lines += [f"- {line}" for line in _missing(validation)]
    return "\n".join(lines) + "\n"


def validation_json(validation: Validation) -> str:
    """bevdiag.validate/1."""
    machine = validation.machine
    return dumps(
        {
            "schema": "bevdiag.validate/1",
            "machine": {"gpu": machine.gpu, "torch": machine.torch, "cudnn": machine.cudnn},
            "median_error": validation.median_error,
            "max_error": validation.max_error,
            "max_reserved_error": validation.max_reserved_error,
            "num_covered": sum(outcome.is_covered for outcome in validation.predicted),
            "rows": [_document(outcome) for outcome in validation.outcomes],
        }
    )


def _document(outcome: Outcome) -> dict[str, Any]:
    row = outcome.row
    return {
        "name": row.name,
        "batch_size": row.batch_size,
        "autocast": row.autocast,
        "measured_allocated_bytes": row.peak_allocated_bytes,
        "measured_reserved_bytes": row.max_reserved_bytes,
        "measured_params": row.params,
        "allocated_bytes": outcome.allocated_bytes,
        "low_bytes": outcome.low_bytes,
        "high_bytes": outcome.high_bytes,
        "reserved_bytes": outcome.reserved_bytes,
        "params": outcome.params,
        "allocated_error": outcome.allocated_error,
        "reserved_error": outcome.reserved_error,
        "covered": outcome.is_covered if not outcome.error else None,
        "error": outcome.error or None,
    }


def _cells(outcome: Outcome) -> tuple[str, ...]:
    row = outcome.row
    return (
        printable(row.name),
        str(row.batch_size),
        row.autocast,
        format_bytes(row.peak_allocated_bytes),
        format_bytes(outcome.allocated_bytes or 0),
        _percent(outcome.allocated_error),
        format_bytes(outcome.low_bytes or 0),
        format_bytes(outcome.high_bytes or 0),
        "yes" if outcome.is_covered else "NO",
        format_bytes(outcome.reserved_bytes or 0),
        _percent(outcome.reserved_error),
        "exact" if outcome.params == row.params else f"{outcome.params} not {row.params}",
    )


def _percent(error: float | None) -> str:
    return "-" if error is None else f"{100 * error:+.2f} %"


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    first, *rest = (
        cell.ljust(width) if column < 1 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([first, *rest]).rstrip()


def _summary(validation: Validation) -> Iterator[str]:
    machine, rows = validation.machine, validation.predicted
    yield (
        f"{len(rows)} of {len(validation.outcomes)} rows predicted, for {machine.gpu}, torch "
        f"{machine.torch}, cuDNN {machine.cudnn}"
    )
    if rows:
        yield (
            f"peak allocated: median |error| {_percent(validation.median_error)[1:]}, largest "
            f"{_percent(validation.max_error)[1:]}; reserved: largest "
            f"{_percent(validation.max_reserved_error)[1:]}"
        )
        yield f"upper end not under the truth: {sum(o.is_covered for o in rows)} of {len(rows)}"


def _missing(validation: Validation) -> Iterator[str]:
    for outcome in validation.outcomes:
        if outcome.error:
            yield f"{printable(outcome.row.name)}: {printable(outcome.error)}"
