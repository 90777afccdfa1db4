"""A comment asks to silence what is not found, or what no rule is called.

What it means:
    The comment changes nothing: the code does not exist, the finding points at another line, or
    the fault was fixed and the comment stayed.

Why it happens:
    Codes are easy to mistype, lines move, and comments outlive their cause.

How to fix:
    Correct the code, move the comment to the blamed line or alone above it, or remove it.

Seen in:
    Instagram/Fixit#53 (https://github.com/Instagram/Fixit/issues/53): suppressions that suppress
    nothing any more fill a code base and mislead its readers.
"""

from collections.abc import Iterator, Sequence

from bevdiag.config import IgnoreComment
from bevdiag.config.nearest import did_you_mean
from bevdiag.rules.codes import CODES, finding
from bevdiag.rules.finding import Finding


def check(comment: IgnoreComment, idle: Sequence[str]) -> Iterator[Finding]:
    """Yield a finding for every code that silenced nothing, and for a comment without a code."""
    if not comment.codes:
        message = "not understood: expected # bevdiag: ignore[BEV203] and a reason"
        yield finding("BEV007", message, location=comment.location)
    for code in idle:
        if code in CODES:
            message = f"{code} is not found on line {comment.line}, so nothing is silenced"
        else:
            message = f"there is no rule {code}{did_you_mean(code, CODES)}"
        yield finding("BEV007", message, location=comment.location)
