"""The known name that a mistyped one probably meant."""

from collections.abc import Iterable
from difflib import get_close_matches

_SLIP = 2
"""Letters."""


def nearest_names(name: str, known: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """Return the known names most like a mistyped one, the nearest first."""
    by_upper = {candidate.upper(): candidate for candidate in sorted(known)}
    nearest = get_close_matches(name.upper(), by_upper, n=count, cutoff=0.6)
    return tuple(by_upper[key] for key in nearest)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Hint at the nearest known name, if there is one; letter case is no difference."""
    nearest = nearest_names(name, known, 1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def slip_of(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was meant, where two letters at most are wrong; else None.

    Forks call a module of theirs after the one that it came from, with more than that added.
    """
    for candidate in nearest_names(name, known, 1):
        if _edits(name.upper(), candidate.upper()) <= _SLIP:
            return candidate
    return None


def _edits(one: str, other: str) -> int:
    """Letters to change, add or remove; two that changed places count as one."""
    rows = [list(range(len(other) + 1))]
    for i, letter in enumerate(one, start=1):
        row, last = [i], rows[-1]
        for j, wanted in enumerate(other, start=1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and (letter, one[i - 2]) == (other[j - 2], wanted):
                cost = min(cost, rows[-2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]
