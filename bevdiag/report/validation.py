"""Measured rows beside their predictions, as text and Markdown."""

from collections.abc import Iterator
from dataclasses import replace

from bevdiag.accuracy.outcome import (
    LARGEST_LIMIT,
    MEDIAN_LIMIT,
    RESERVED_LIMIT,
    RESERVED_SHARE,
    Outcome,
    Validation,
    by_stack_and_loop,
)
from bevdiag.report.amounts import UNKNOWN, format_bytes
from bevdiag.report.printable import printable
from bevdiag.report.text.prose import Page
from bevdiag.report.text.table import columns

_COLUMNS = (
    "row~ | batch>5 | autocast>6 | measured> | predicted> | error> | low>8 | "
    "high>4 | covered> | reserved>7 | error>2 | parameters>3"
)
_MOST_NAMED = 8
"""More rows than these that lack a prediction for one reason are counted, not named."""


def write_validation(page: Page, validation: Validation) -> None:
    """One line a row, then median, maximum, coverage and what has no prediction."""
    if validation.predicted:
        page.table(_COLUMNS, [_cells(outcome) for outcome in validation.predicted], indent=0)
        page.line()
    for sentence in _summary(validation):
        page.paragraph(sentence)
    for sentence in _missing(validation):
        page.paragraph(sentence, style="dim")


def validation_markdown(validation: Validation) -> str:
    """Write the same as a Markdown table."""
    header = [column.header for column in columns(_COLUMNS)]
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    lines += [f"| {' | '.join(_cells(outcome))} |" for outcome in validation.predicted]
    lines += ["", *(f"- {line}" for line in _summary(validation))]
    lines += [f"- {line}" for line in _missing(validation)]
    return "\n".join(lines) + "\n"


def _cells(outcome: Outcome) -> tuple[str, ...]:
    row = outcome.row
    return (
        printable(row.name),
        str(row.batch_size),
        row.autocast,
        format_bytes(row.peak_allocated_bytes),
        format_bytes(outcome.allocated_bytes),
        _percent(outcome.allocated_error),
        format_bytes(outcome.low_bytes),
        format_bytes(outcome.high_bytes),
        "yes" if outcome.covered else "NO",
        format_bytes(outcome.reserved_bytes),
        _percent(outcome.reserved_error),
        "exact" if outcome.params == row.params else f"{outcome.params} not {row.params}",
    )


def _percent(error: float | None) -> str:
    return UNKNOWN if error is None else f"{100 * error:+.2f} %"


def _magnitude(error: float | None) -> str:
    return UNKNOWN if error is None else f"{100 * abs(error):.2f} %"


def _summary(validation: Validation) -> Iterator[str]:
    machine, rows = validation.machine, validation.predicted
    yield (
        f"{len(rows)} of {len(validation.outcomes)} rows predicted, for {machine.gpu}, torch "
        f"{machine.torch}, cuDNN {machine.cudnn}"
    )
    if not rows:
        return
    yield _figures(validation)
    groups = by_stack_and_loop(validation)
    if len(groups) > 1:
        yield from (
            f"{name} ({len(group.predicted)} rows): {_figures(group)}"
            for name, group in groups.items()
            if group.predicted
        )
    if validation.unsettled:
        if validation.settled:
            known = replace(validation, outcomes=validation.settled)
            yield f"counts known in every step ({len(known.outcomes)} rows): {_figures(known)}"
        yield (
            f"counts known in the first step alone ({len(validation.unsettled)} rows): its "
            f"peak: largest |error| {_magnitude(validation.max_first_step_error)}; peak of "
            "the later steps, if they kept the same: largest "
            f"{_magnitude(validation.max_unsettled_error)}"
        )
    yield f"upper end not under the truth: {validation.num_covered} of {len(rows)}"
    near, most = RESERVED_SHARE
    yield (
        f"promised for each stack and loop: median at most {MEDIAN_LIMIT:.1%}, largest "
        f"{LARGEST_LIMIT:.0%}, reserved within {RESERVED_LIMIT:.0%} in {near} of {most} rows, "
        f"every upper end covers, parameters exact: {'; '.join(validation.misses) or 'all kept'}"
    )


def _figures(validation: Validation) -> str:
    return (
        f"peak allocated: median |error| {_magnitude(validation.median_error)}, largest "
        f"{_magnitude(validation.max_error)}; reserved: largest "
        f"{_magnitude(validation.max_reserved_error)}, within {RESERVED_LIMIT:.0%} in "
        f"{validation.num_reserved_near} of {len(validation.predicted)}"
    )


def _missing(validation: Validation) -> Iterator[str]:
    names: dict[str, list[str]] = {}
    for outcome in validation.outcomes:
        if outcome.error:
            names.setdefault(outcome.error, []).append(outcome.row.name)
    for error, rows in names.items():
        which = f"{len(rows)} rows" if len(rows) > _MOST_NAMED else ", ".join(rows)
        yield f"not predicted: {printable(which)}: {printable(error)}"
