"""Runs the rules of a stage, in the order of the table, and parts what comments silence."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bevdiag.config import DetectorConfig, Document, IgnoreComment, from_document
from bevdiag.config.modules import foreign_keys
from bevdiag.config.nearest import did_you_mean
from bevdiag.config.parts import Parts, read_parts
from bevdiag.errors import ConfigError, NoVerdictError
from bevdiag.rules.codes import CODES, Code, RuleStage, finding, rule_of
from bevdiag.rules.finding import (
    Confidence,
    ConfigEvidence,
    Finding,
    Fix,
    Fixable,
    Severity,
    Silencing,
    StepEvidence,
    TraceEvidence,
    worst_first,
)
from bevdiag.rules.pages import codes_for
from bevdiag.rules.sound_grid import with_sound_grid

GROUPS = (
    "voxel-xy", "voxel-z", "range", "height", "points", "voxels", "samples", "growth",
    "checkpoint", "channels", "precision", "batch",
)  # fmt: skip
"""Fixes as they are shown, and as a set makes them: what decides the grid comes first."""
_UNKNOWN_MODULE = "BEV008"
_DERIVED = ("BEV102", "BEV103", "BEV106", "BEV108", "BEV201", "BEV202", "BEV204")
"""Rules that derive from the settings what OpenPCDet's modules hand to each other."""
_UNSEEN = ("BEV010", "BEV011", "BEV104")
"""Faults of the data and of values, which stop a run and not a traced step."""
_OTHER_CODE = (
    "Derived from what OpenPCDet's code of these names does; the trace of this repository's own "
    "code did not confirm it."
)


def check_config(
    path: Path, document: Document, *, data_root: Path | None = None
) -> tuple[Finding, ...]:
    """Find what the rules find that need the config alone; import no torch and never raise.

    Args:
        path: the config's file.
        document: what it says, as `read_document` gives it.
        data_root: the folder that relative data paths start from; None does not look for data.
    """
    try:
        config = from_document(path, document)
    except (ConfigError, NoVerdictError):
        config = None
    return config_findings(document, config, data_root)


def config_findings(
    document: Document, config: DetectorConfig | None, data_root: Path | None = None
) -> tuple[Finding, ...]:
    """Like `check_config`, with the checked settings at hand; None where there are none."""
    parts = read_parts(document)
    evidence = ConfigEvidence(document=document, parts=parts, config=config, data_root=data_root)
    found = with_sound_grid(document, tuple(_found(evidence, RuleStage.CONFIG)))
    foreign = _foreign(parts)
    # A fork's code may do something else.
    doubt = (
        f"OpenPCDet's modules do not read {foreign}: code that does may hand over something else; "
        "--source DIR traces it."
    )
    if not foreign:
        return found
    return tuple(_doubted(f, doubt) if f.code in _DERIVED else f for f in found)


def source_findings(
    document: Document, data_root: Path | None, *, ran: bool, failure: str = ""
) -> tuple[Finding, ...]:
    """Like `check_config` for a model that a repository's own code builds.

    What modules there are is the repository's business, and a step that `ran` had no fault that
    would have stopped it, whatever a module of that name does elsewhere; but what a trace does not
    show, and what stops nothing, is found all the same. That OpenPCDet's own code would stop is
    certain only where the repository's code failed in the very words of the rule.

    Args:
        document: the config.
        data_root: the folder that relative data paths start from; None does not look for data.
        ran: whether the repository's step ran.
        failure: what it printed where it did not.
    """
    confirmed = codes_for(failure, None)
    return tuple(
        _doubted(found, _OTHER_CODE)
        if found.code not in confirmed and (CODES[found.code].stops or found.code in _DERIVED)
        else found
        for found in config_findings(document, None, data_root)
        if found.code != _UNKNOWN_MODULE and not (ran and _is_refuted(found))
    )


def _is_refuted(found: Finding) -> bool:
    """Whether no step runs with it, so that one that ran shows that it is not there."""
    shows = CODES[found.code].stops and found.code not in _UNSEEN
    return shows and (found.severity is Severity.ERROR or found.code in _DERIVED)


def step_findings(evidence: TraceEvidence) -> tuple[Finding, ...]:
    """Find what the rules find that look at a traced step, and at the settings where known."""
    stages = (
        (RuleStage.TRACE, RuleStage.STEP)
        if isinstance(evidence, StepEvidence)
        else (RuleStage.TRACE,)
    )
    return tuple(_found(evidence, *stages))


def sifted(
    findings: Iterable[Finding], document: Document, *stages: RuleStage
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Sift out what the config's comments silence: the findings, errors first, and the silenced."""
    stay, silenced = silence(findings, document.ignores, stages)
    return tuple(worst_first(stay)), silenced


def fixes_of(step: Fixable) -> tuple[Fix, ...]:
    """Return what all rules can write into this config, but for what the user's options decide."""
    found = (fix for row in CODES.values() for fix in _fixes(row, step))
    return tuple(sorted(found, key=lambda fix: GROUPS.index(fix.group)))


def with_fixes(findings: Iterable[Finding], step: Fixable) -> tuple[Finding, ...]:
    """Return the findings, each with the fixes of its rule."""
    return tuple(replace(f, fixes=(*f.fixes, *_fixes(CODES[f.code], step))) for f in findings)


def _fixes(row: Code, step: Fixable) -> Iterator[Fix]:
    if row.has_fixes:
        fixes = rule_of(row, "_fixes")(step)
        yield from (fix for fix in fixes if fix.group not in step.decided)


def stops(findings: Iterable[Finding]) -> bool:
    """Whether one of them is a fault that stops every step, and that bevdiag does not fix."""
    return any(
        f.stops and not CODES[f.code].is_fixed and f.severity is Severity.ERROR for f in findings
    )


def _foreign(parts: Parts) -> str:
    """Return the keys by which a module shows that it is not OpenPCDet's own; empty if none."""
    modules = {
        "VFE": parts.vfe,
        "BACKBONE_3D": parts.backbone_3d,
        "MAP_TO_BEV": parts.map_to_bev,
        "BACKBONE_2D": parts.backbone_2d,
    }
    return ", ".join(
        f"{slot}.{key}"
        for slot, settings in modules.items()
        if settings is not None
        for key in foreign_keys(settings)
    )


def _doubted(found: Finding, doubt: str) -> Finding:
    """Turn a derived error into a warning, which does not explain why a step stops."""
    if found.severity is not Severity.ERROR:
        return found
    return replace(
        found,
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        stops=False,
        detail=(*found.detail, doubt),
    )


def _found(evidence: Any, *stages: RuleStage) -> Iterator[Finding]:
    for row in CODES.values():
        if row.stage in stages:
            for found in rule_of(row)(evidence):
                if found.location is None and found.key:
                    found = replace(found, location=evidence.document.key_location(found.key))
                yield found


def silence(
    findings: Iterable[Finding], ignores: Iterable[IgnoreComment], stages: Collection[RuleStage]
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
        idle = [
            code
            for code in comment.codes
            if (code, comment.location) not in effective
            # Another stage's rule has not had its chance.
            and (code not in CODES or CODES[code].stage in stages)
        ]
        stay += ignore_without_effect(comment, idle)
    return tuple(stay), tuple(silenced)


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
