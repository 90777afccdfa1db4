"""A comment silences a finding and does not say why.

What it means:
    The finding is silenced all the same; nobody who reads the config will know whether that was
    right.

Why it happens:
    The comment was written to get on with the day.

How to fix:
    Write the reason behind the bracket: # bevdiag: ignore[BEV305] sonar frames fill their voxels.

Seen in:
    eslint/eslint#1495 (https://github.com/eslint/eslint/issues/1495): without a reason beside it, a
    rule that was silenced for good looks like one that was silenced for convenience.
"""

from collections.abc import Iterator

from bevdiag.config import IgnoreComment
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Finding


def check(comment: IgnoreComment) -> Iterator[Finding]:
    """Yield a finding where the bracket is the comment's last word."""
    if comment.codes and not comment.reason:
        codes = ", ".join(comment.codes)
        yield finding("BEV006", f"{codes} is silenced without a reason", location=comment.location)
