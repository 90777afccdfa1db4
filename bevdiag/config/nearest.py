"""The known name that a mistyped one probably meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest_names(name: str, known: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """The known names most like a mistyped one, the nearest first."""
    by_upper = {candidate.upper(): candidate for candidate in sorted(known)}
    nearest = get_close_matches(name.upper(), by_upper, n=count, cutoff=0.6)
    return tuple(by_upper[key] for key in nearest)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint at the nearest known name, or nothing; letter case is no difference."""
    nearest = nearest_names(name, known, 1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
