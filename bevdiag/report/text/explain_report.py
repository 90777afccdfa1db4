"""`bevdiag explain` as text."""

from collections.abc import Iterator

from rich.text import Text

from bevdiag.explain.answer import (
    PREDICTABLE,
    Candidate,
    Certainty,
    Explanation,
    Failure,
    FailureKind,
    Figure,
    Suspicion,
)
from bevdiag.explain.other_texts import ADVICE
from bevdiag.report.amounts import format_bytes
from bevdiag.report.layout import Layout
from bevdiag.report.locations import module_or_phase, shown_location
from bevdiag.report.text.prose import heading, labelled_lines, paragraph, render_lines

_STYLES = {Certainty.CERTAIN: "green", Certainty.LIKELY: "green", Certainty.POSSIBLE: "yellow"}
_LABEL_COLUMN = 12
_SAYING = (
    *ADVICE,
    FailureKind.FAULT,
    FailureKind.KILLED,
    FailureKind.NO_VOXEL,
    FailureKind.SHARED_MEMORY,
    FailureKind.WORKER,
)
"""Whose names say already what happened."""


def render_explain(explanation: Explanation, layout: Layout) -> str:
    """Write the answer first, then what the text says, then what else it could be."""
    lines = _answer(explanation, layout)
    lines += heading("The message", layout)
    lines += labelled_lines(_message(explanation.failure), layout, column=_LABEL_COLUMN)
    for sentence in (one for one in explanation.decoded if one != explanation.cause):
        lines += paragraph(sentence, layout, indent=2)
    if explanation.others:
        lines += heading("Other processes of the log", layout)
        others = ((_rank(failure), failure.sentence) for failure in explanation.others)
        lines += labelled_lines(others, layout, column=_LABEL_COLUMN)
    if len(explanation.candidates) > 1:
        lines += heading("It could also be", layout)
        for candidate in explanation.candidates[1:]:
            lines += _alternative(candidate, layout)
    if explanation.target is not None or explanation.notes:
        lines += heading("Assumed", layout)
        lines += labelled_lines(_assumed(explanation), layout, column=_LABEL_COLUMN)
    return render_lines(lines, layout)


def _answer(explanation: Explanation, layout: Layout) -> list[Text]:
    failure = explanation.failure
    if explanation.suspicions:
        return _suspected(explanation, layout)
    if explanation.cause:
        lines = paragraph(explanation.cause, layout, style="bold green")
        if explanation.candidates:
            lines += [Text(), *_named(explanation.candidates[0], layout)]
        return lines
    if not explanation.candidates:
        asked = f" {_size(failure.requested)}" if failure.requested is not None else " memory"
        if failure.kind in _SAYING:
            sentence = f"It was {failure.kind.value}."
        else:
            sentence = f"{failure.kind.value[0].upper()}{failure.kind.value[1:]} refused{asked}."
        lines = paragraph(sentence, layout, style="bold")
        if explanation.config and explanation.target is not None:
            lines += paragraph(
                "No allocation of the predicted step is that large, and the step ends within the "
                "capacity that the message states: the run differed from the config given.",
                layout,
            )
        elif not explanation.config and failure.kind in PREDICTABLE:
            lines += paragraph("--config CONFIG names the tensor or workspace.", layout)
        return lines
    return _named(explanation.candidates[0], layout)


def _suspected(explanation: Explanation, layout: Layout) -> list[Text]:
    """Write which rules know the text: what they found, or what is to be looked for."""
    lines: list[Text] = []
    found = [one for one in explanation.suspicions if one.findings]
    if explanation.config and not found:
        tried = [one for one in explanation.suspicions if one.looked_at]
        names = ", ".join(one.code for one in tried)
        if tried:
            lines += paragraph(
                f"{explanation.config} has no fault that {names} could find: the run differed from "
                "the config given, or something else printed this.",
                layout,
                style="bold",
            )
    for suspicion in found or explanation.suspicions:
        lines += [Text()] if lines else []
        head = f"{suspicion.code} {suspicion.name}: {suspicion.summary}"
        lines += paragraph(head, layout, style=f"bold {_STYLES[suspicion.certainty]}")
        for finding in suspicion.findings:
            where = shown_location(finding.location) if finding.location is not None else ""
            place = f"{where} {finding.key}".strip()
            text = f"{place}: {finding.message}" if place else finding.message
            lines += paragraph(text, layout, indent=2)
            if finding.fixes:
                names = ", ".join(fix.id for fix in finding.fixes)
                lines += paragraph(f"fix: {names} (bevdiag fix traces each)", layout, indent=4)
        if suspicion.findings:
            lines += paragraph(_agreement(suspicion), layout, indent=2)
        for fix in suspicion.fix:
            lines += paragraph(fix, layout, indent=2)
    if not explanation.config:
        lines += paragraph("--config CONFIG runs the rules on the config.", layout)
    return lines


def _size(figure: Figure) -> str:
    """Write the figure as it was printed, and in a unit that can be read where it was in bytes."""
    readable = format_bytes(figure.middle_bytes)
    return f"{figure.text} ({readable})" if figure.text.endswith("bytes") else figure.text


def _agreement(suspicion: Suspicion) -> str:
    if suspicion.doubt:
        return f"Possible: {suspicion.doubt}."
    if suspicion.certainty is Certainty.CERTAIN:
        return "Certain: text and finding name the same."
    return "Likely: the text names nothing that could be compared with the finding."


def _named(best: Candidate, layout: Layout) -> list[Text]:
    sentence = f"{_word(best)}: the {best.what} in {_module(best)}, {_when(best)}."
    lines = paragraph(sentence, layout, style=f"bold {_STYLES[best.certainty]}")
    lines += paragraph(best.arithmetic, layout, indent=2)
    if best.condition:
        lines += paragraph(f"With {best.condition}.", layout, indent=2)
    lines += paragraph(f"Why: {'; '.join(best.reasons)}.", layout, indent=2)
    return lines


def _word(candidate: Candidate) -> str:
    return {
        Certainty.CERTAIN: "It is",
        Certainty.LIKELY: "Most likely it is",
        Certainty.POSSIBLE: "It may be",
    }[candidate.certainty]


def _module(candidate: Candidate) -> str:
    return module_or_phase(candidate.module, candidate.phase)


def _when(candidate: Candidate) -> str:
    if candidate.step == 0:
        return "while the model is loaded"
    part = "phase" if candidate.phase == "optimizer" else "pass"
    return f"in the {candidate.phase} {part}, first in step {candidate.step}"


def _message(failure: Failure) -> Iterator[tuple[str, str]]:
    if failure.kind is FailureKind.FAULT or failure.kind in ADVICE:
        yield "printed", failure.sentence
    if failure.rank:
        yield "process", _rank(failure)
    figures = {
        "asked for": failure.requested,
        "allocated": failure.allocated,
        "reserved": failure.reserved,
        "unallocated": failure.unallocated,
        "free": failure.free,
        "limit": failure.allowed,
        "in use": failure.in_use,
        "GPU's total": failure.total,
    }
    for label, figure in figures.items():
        if figure is not None:
            yield label, figure.text


def _rank(failure: Failure) -> str:
    return f"rank {failure.rank}" if failure.rank else "no rank"


def _alternative(candidate: Candidate, layout: Layout) -> list[Text]:
    head = f"{_module(candidate)}: {candidate.what}, {candidate.phase}"
    lines = paragraph(head, layout, indent=2, style="bold")
    lines += paragraph(candidate.arithmetic, layout, indent=4)
    if candidate.condition:
        lines += paragraph(f"With {candidate.condition}.", layout, indent=4)
    allocated = format_bytes(candidate.allocated_bytes)
    return lines + paragraph(f"{allocated} allocated then.", layout, indent=4)


def _assumed(explanation: Explanation) -> Iterator[tuple[str, str]]:
    target = explanation.target
    if target is not None:
        yield "Config", explanation.config
        capacity = target.capacity_bytes
        room = format_bytes(capacity) if capacity is not None else "not stated"
        gpu = target.gpu or f"not named, kernels of compute capability {target.compute_capability}"
        yield "GPU", f"{gpu}; room for the allocator: {room}"
        yield "Libraries", f"torch {target.torch}, cuDNN {target.cudnn}"
    for note in explanation.notes:
        yield "Note", note
