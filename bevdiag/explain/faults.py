"""A failure that is not about memory: the rules that know its text, run on the config."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bevdiag.config import read_document
from bevdiag.environment.wheels import install_command
from bevdiag.errors import BevdiagError, InputError, NoVerdictError
from bevdiag.explain.answer import Certainty, Explanation, Suspicion
from bevdiag.prediction.options import InspectOptions, Progress
from bevdiag.rules.checks import check_config
from bevdiag.rules.codes import CODES, Stage
from bevdiag.rules.finding import Finding, Severity
from bevdiag.rules.pages import codes_for, named_in, rule_page, signatures

_ERROR = re.compile(
    r"^.{0,200}?\b\w{0,80}(?:Error|Exception|error|failed|fault)\b.*$", re.MULTILINE
)
_MISSING = re.compile(r"No module named '?([\w.]{1,80})")
_WORD = re.compile(r"\d[\d,]*(?!\w)|\w+")
_RANKS = {Certainty.CERTAIN: 0, Certainty.LIKELY: 1, Certainty.POSSIBLE: 2}
_STEP_STAGES = (Stage.STEP, Stage.TRACE)


def suspect(
    answer: Explanation, config: Path | None, options: InspectOptions, progress: Progress
) -> Explanation:
    """Add the rules that know the text to the answer, and what they find in the config.

    Raises:
        BevdiagError: the config or an option cannot be used.
    """
    codes = answer.failure.codes
    findings: dict[str, list[Finding]] = {}
    notes = list(answer.notes)
    looked_at = dict.fromkeys(codes, "")
    if config is not None:
        document = read_document(config, options.overrides)
        found = list(check_config(config, document))
        for code in codes:
            if CODES[code].stage is Stage.CONFIG:
                looked_at[code] = "the config"
        if any(CODES[code].stage in _STEP_STAGES for code in codes):
            traced = _of_step(config, options, progress, notes)
            found += traced or ()
            for code in codes:
                if traced is not None and CODES[code].stage in _STEP_STAGES:
                    looked_at[code] = "the predicted step"
        for one in found:
            findings.setdefault(one.code, []).append(one)
        others = [f for f in found if f.code not in codes and f.severity is Severity.ERROR]
        notes += [f"the config has another fault: {f.code} {f.message}" for f in others]
    if missing := _MISSING.search(answer.failure.sentence):
        notes.append(f"the module {missing[1]} comes with: {install_command(missing[1])}")
    if any(CODES[code].stage is Stage.ENVIRONMENT for code in codes):
        notes.append(
            "bevdiag doctor looks at the environment that this was printed in; --requirements FILE "
            "at one that a list describes"
        )
    text = answer.failure.sentence
    suspicions = [
        _suspicion(code, looked_at[code], tuple(findings.get(code, ())), text) for code in codes
    ]
    suspicions.sort(key=lambda one: _RANKS[one.certainty])
    if not codes:
        notes.append(_elsewhere(text, answer.failure.stack.part))
    name = str(config) if config is not None else ""
    return replace(answer, config=name, suspicions=tuple(suspicions), notes=tuple(notes))


def _elsewhere(text: str, part: str) -> str:
    """Say of a text that rules know it, but from other parts of the detector alone."""
    known = ", ".join(codes_for(text, ""))
    return (
        f"{known} would be the rule for this text elsewhere in the detector; the traceback ends in "
        f"{part}, where no rule looks for it"
    )


def unknown_text(text: str, config: Path | None, overrides: Sequence[str]) -> BevdiagError:
    """Return the error of a text in which nothing is known, and of the config beside it.

    Raises:
        BevdiagError: the config cannot be read.
    """
    known = ", ".join(dict.fromkeys(one.code for one in signatures()))
    looked_for = (
        "looked for were messages about memory (of PyTorch, cuBLAS, cuDNN, NCCL, spconv, the "
        f"driver, NumPy, the host and data loaders) and the texts of the rules {known}"
    )
    errors = _ERROR.findall(text)
    if not errors:
        return InputError(f"the text holds no message of a failure: {looked_for}")
    last = " ".join(errors[-1].split())[:200]
    beside = ""
    if config is not None:
        found = check_config(config, read_document(config, overrides))
        faults = [f"{one.code} {one.message}" for one in found if one.severity is Severity.ERROR]
        beside = f"; {config} has {'; '.join(faults) or 'no error that a rule could find'}"
    return NoVerdictError(f"unknown to bevdiag: {last!r}: {looked_for}{beside}")


def _suspicion(code: str, looked_at: str, findings: tuple[Finding, ...], text: str) -> Suspicion:
    page = rule_page(code)
    named = named_in(code, text)
    agreeing = tuple(one for one in findings if all(_names(one, word) for word in named))
    doubt = ""
    if findings and not agreeing:
        doubt = (
            f"the text says {' and '.join(named)}, the finding does not: the run had "
            "another config than the one given"
        )
    if not findings or doubt:
        certainty = Certainty.POSSIBLE
    else:
        certainty = Certainty.CERTAIN if named else Certainty.LIKELY
    return Suspicion(
        certainty=certainty,
        doubt=doubt,
        code=code,
        name=page.code.name,
        summary=page.summary,
        fix=page.parts["How to fix"],
        looked_at=looked_at,
        findings=agreeing or findings,
    )


def _names(finding: Finding, word: str) -> bool:
    """Whether the finding says the number or the name, before it explains itself."""
    said = finding.message.partition(":")[0]
    return word in (part.replace(",", "") for part in _WORD.findall(said))


def _of_step(
    config: Path, options: InspectOptions, progress: Progress, notes: list[str]
) -> tuple[Finding, ...] | None:
    """Return what the rules of a traced step find; None, and a note, where it cannot be traced."""
    progress("importing torch", 0.0)
    from bevdiag.prediction.inspect import inspect
    from bevdiag.prediction.result import Prediction

    try:
        report = inspect(config, replace(options, remedies=False), progress)
    except BevdiagError as error:
        notes.append(f"the step could not be predicted: {error}")
        return None
    if not isinstance(report, Prediction):
        notes.append("the step could not be predicted: the config has a fault that stops it")
        return None
    return tuple(f for f in report.findings if CODES[f.code].stage in _STEP_STAGES)
