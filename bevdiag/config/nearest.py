"""The known name that a mistyped one probably meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint at the nearest known name, or nothing; letter case is no difference."""
    by_upper = {candidate.upper(): candidate for candidate in sorted(known)}
    nearest = get_close_matches(name.upper(), by_upper, n=1, cutoff=0.6)
    return f"; did you mean {by_upper[nearest[0]]!r}?" if nearest else ""
