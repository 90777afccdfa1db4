"""Findings that a comment in the config silences, and comments that are no good."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from bevdiag.config import IgnoreComment
from bevdiag.config.nearest import did_you_mean
from bevdiag.rules.codes import CODES, Stage, finding
from bevdiag.rules.finding import Finding, Silencing


def silence(
    findings: Iterable[Finding], ignores: Iterable[IgnoreComment], stages: Collection[Stage]
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Part the findings that stay from those that are silenced.

    Args:
        findings: what the rules found.
        ignores: the config's comments.
        stages: the stages whose rules ran: a comment about another one may have its effect there.

    Returns:
        Findings with those about the comments themselves behind, and what was silenced.
    """
    by_place = {
        (code, comment.location.file, comment.line): comment
        for comment in ignores
        for code in comment.codes
    }
    stay: list[Finding] = []
    silenced: list[Finding] = []
    for found in findings:
        where = found.location
        comment = by_place.get((found.code, where.file, where.line)) if where else None
        if comment is None:
            stay.append(found)
        else:
            silencing = Silencing(comment.reason, comment.location)
            silenced.append(replace(found, silenced=silencing))
    effective = {(f.code, f.silenced.location) for f in silenced if f.silenced is not None}
    for comment in ignores:
        stay += ignore_without_reason(comment)
        idle = [code for code in comment.codes if (code, comment.location) not in effective]
        stay += ignore_without_effect(comment, list(_reported(idle, stages)))
    return tuple(stay), tuple(silenced)


def _reported(idle: list[str], stages: Collection[Stage]) -> Iterator[str]:
    """Of the codes that silenced nothing those that had their chance to."""
    for code in idle:
        if code not in CODES or CODES[code].stage in stages:
            yield code


def ignore_without_reason(comment: IgnoreComment) -> Iterator[Finding]:
    """A comment silences a finding and does not say why.

    What it means: The finding is silenced all the same; nobody who reads the config will know
        whether that was right.
    Why it happens: The comment was written to get on with the day.
    How to fix: Write the reason behind the bracket: # bevdiag: ignore[BEV305] sonar frames fill
        their voxels.
    Seen in: eslint/eslint#1495: without a reason beside it, a rule that was silenced for good looks
        like one that was silenced for convenience.
    """
    if comment.codes and not comment.reason:
        codes = ", ".join(comment.codes)
        yield finding("BEV006", f"{codes} is silenced without a reason", location=comment.location)


def ignore_without_effect(comment: IgnoreComment, idle: Sequence[str]) -> Iterator[Finding]:
    """A comment asks to silence what is not found, or what no rule is called.

    What it means: The comment changes nothing: the code does not exist, the finding points at
        another line, or the fault was fixed and the comment stayed.
    Why it happens: Codes are easy to mistype, lines move, and comments outlive their cause.
    How to fix: Correct the code, move the comment to the blamed line or alone above it, or remove
        it.
    Seen in: Instagram/Fixit#53: suppressions that suppress nothing any more fill a code base and
        mislead its readers.
    """
    if not comment.codes:
        message = "not understood: expected # bevdiag: ignore[BEV203] and a reason"
        yield finding("BEV007", message, location=comment.location)
    for code in idle:
        if code in CODES:
            message = f"{code} is not found on line {comment.line}, so nothing is silenced"
        else:
            message = f"there is no rule {code}{did_you_mean(code, CODES)}"
        yield finding("BEV007", message, location=comment.location)
