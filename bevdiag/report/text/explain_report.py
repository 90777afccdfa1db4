"""`bevdiag explain` as text."""

from collections.abc import Iterator

from bevdiag.explain.answer import (
    Candidate,
    Certainty,
    Explanation,
    Failure,
    Figure,
    Suspicion,
)
from bevdiag.explain.kinds import FAULT
from bevdiag.report.amounts import format_bytes
from bevdiag.report.text.assumed import target_entries
from bevdiag.report.text.findings import write_fixes
from bevdiag.report.text.prose import Page, module_or_phase

_STYLES = {Certainty.CERTAIN: "green", Certainty.LIKELY: "green", Certainty.POSSIBLE: "yellow"}
_WORDS = {
    Certainty.CERTAIN: "It is",
    Certainty.LIKELY: "Most likely it is",
    Certainty.POSSIBLE: "It may be",
}
_LABEL_COLUMN = 12


def write_explain(page: Page, explanation: Explanation) -> None:
    """Write the answer first, then what the text says, then what else it could be."""
    _write_answer(page, explanation)
    page.heading("The message")
    page.labelled(_message(explanation.failure), column=_LABEL_COLUMN)
    for sentence in (one for one in explanation.decoded if one != explanation.cause):
        page.paragraph(sentence, indent=2)
    if explanation.others:
        page.heading("Other processes of the log")
        others = explanation.others
        ranks = ((f"rank {one.rank}" if one.rank else "no rank", one.sentence) for one in others)
        page.labelled(ranks, column=_LABEL_COLUMN)
    if len(explanation.candidates) > 1:
        page.heading("It could also be")
    for candidate in explanation.candidates[1:]:
        head = f"{_module(candidate)}: {candidate.what}, {candidate.phase}"
        page.paragraph(head, indent=2, style="bold")
        _write_arithmetic(page, candidate, indent=4)
        page.paragraph(f"{format_bytes(candidate.allocated_bytes)} allocated then.", indent=4)
    if explanation.target is not None or explanation.notes:
        page.heading("Assumed")
        page.labelled(_assumed(explanation), column=_LABEL_COLUMN)


def _write_answer(page: Page, explanation: Explanation) -> None:
    failure = explanation.failure
    if explanation.suspicions:
        _write_suspicions(page, explanation)
        return
    if explanation.cause:
        page.paragraph(explanation.cause, style="bold green")
        if explanation.candidates:
            page.line()
    if explanation.candidates:
        _write_best(page, explanation.candidates[0])
    elif not explanation.cause:
        asked = f" {_size(failure.requested)}" if failure.requested is not None else " memory"
        kind, who = failure.kind, failure.kind.who
        refusal = f"{who[0].upper()}{who[1:]} refused{asked}."
        page.paragraph(refusal if kind.refuses else f"It was {who}.", style="bold")
        if explanation.config and explanation.target is not None:
            page.paragraph(
                "No allocation of the predicted step is that large, and the step ends within the "
                "capacity that the message states: the run differed from the config given."
            )
        elif not explanation.config and failure.kind.predictable:
            page.paragraph("--config CONFIG names the tensor or workspace.")


def _write_suspicions(page: Page, explanation: Explanation) -> None:
    """Write which rules know the text: what they found, or what is to be looked for."""
    found = [one for one in explanation.suspicions if one.findings]
    tried = [one.code for one in explanation.suspicions if one.looked_at]
    if explanation.config and tried and not found:
        page.paragraph(
            f"{explanation.config} has no fault that {', '.join(tried)} could find: the run "
            "differed from the config given, or something else printed this.",
            style="bold",
        )
    for suspicion in found or explanation.suspicions:
        if page.lines:
            page.line()
        doubt = "" if suspicion.findings else f"{_WORDS[suspicion.certainty]} "
        head = f"{doubt}{suspicion.code} {suspicion.name}: {suspicion.summary}"
        page.paragraph(head, style=f"bold {_STYLES[suspicion.certainty]}")
        for finding in suspicion.findings:
            where = finding.location.shown() if finding.location is not None else ""
            place = f"{where} {finding.key}".strip()
            page.paragraph(f"{place}: {finding.message}" if place else finding.message, indent=2)
            write_fixes(page, finding)
        if suspicion.findings:
            page.paragraph(_agreement(suspicion), indent=2)
        for fix in suspicion.fix:
            page.paragraph(fix, indent=2)
    if not explanation.config:
        page.paragraph("--config CONFIG runs the rules on the config.")


def _size(figure: Figure) -> str:
    """Write the figure as it was printed, and in a unit that can be read where it was in bytes."""
    readable = f" ({format_bytes(figure.middle_bytes)})" if figure.text.endswith("bytes") else ""
    return f"{figure.text}{readable}"


def _agreement(suspicion: Suspicion) -> str:
    if suspicion.doubt:
        return f"Possible: {suspicion.doubt}."
    if suspicion.certainty is Certainty.CERTAIN:
        return "Certain: text and finding name the same."
    return "Likely: the text names nothing that could be compared with the finding."


def _write_best(page: Page, best: Candidate) -> None:
    sentence = f"{_WORDS[best.certainty]}: the {best.what} in {_module(best)}, {_when(best)}."
    page.paragraph(sentence, style=f"bold {_STYLES[best.certainty]}")
    _write_arithmetic(page, best, indent=2)
    page.paragraph(f"Why: {'; '.join(best.reasons)}.", indent=2)


def _write_arithmetic(page: Page, candidate: Candidate, indent: int) -> None:
    page.paragraph(candidate.arithmetic, indent=indent)
    if candidate.condition:
        page.paragraph(f"With {candidate.condition}.", indent=indent)


def _module(candidate: Candidate) -> str:
    return module_or_phase(candidate.module, candidate.phase)


def _when(candidate: Candidate) -> str:
    if candidate.step == 0:
        return "while the model is loaded"
    part = "phase" if candidate.phase == "optimizer" else "pass"
    return f"in the {candidate.phase} {part}, first in step {candidate.step}"


def _message(failure: Failure) -> Iterator[tuple[str, str]]:
    if failure.kind is FAULT or failure.kind.texts:
        yield "printed", failure.sentence
    if failure.rank:
        yield "process", f"rank {failure.rank}"
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


def _assumed(explanation: Explanation) -> Iterator[tuple[str, str]]:
    if explanation.target is not None:
        yield "Config", explanation.config
        yield from target_entries(explanation.target)
    for note in explanation.notes:
        yield "Note", note
