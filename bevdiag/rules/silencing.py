"""Findings that a comment in the config silences, and comments that are no good."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from bevdiag.config import IgnoreComment
from bevdiag.rules import ignore_without_effect, ignore_without_reason
from bevdiag.rules.codes import CODES, Stage
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
    for finding in findings:
        where = finding.location
        comment = by_place.get((finding.code, where.file, where.line)) if where else None
        if comment is None:
            stay.append(finding)
        else:
            silencing = Silencing(comment.reason, comment.location)
            silenced.append(replace(finding, silenced=silencing))
    effective = {(f.code, f.silenced.location) for f in silenced if f.silenced is not None}
    for comment in ignores:
        stay += ignore_without_reason.check(comment)
        idle = [code for code in comment.codes if (code, comment.location) not in effective]
        stay += ignore_without_effect.check(comment, list(_told(idle, stages)))
    return tuple(stay), tuple(silenced)


def _told(idle: list[str], stages: Collection[Stage]) -> Iterator[str]:
    """Of the codes that silenced nothing those that had their chance to."""
    for code in idle:
        if code not in CODES or CODES[code].stage in stages:
            yield code
