"""Answer `bevdiag explain`: decode a message, predict the step, find the allocation or the rule."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bevdiag.config import read_document
from bevdiag.environment.wheels import install_command
from bevdiag.errors import BevdiagError, InputError, NoVerdictError
from bevdiag.explain.answer import Certainty, Explanation, Failure, Suspicion
from bevdiag.explain.decode import cause_of, decode
from bevdiag.explain.kinds import FAULT
from bevdiag.explain.messages import read_log
from bevdiag.prediction.options import InspectOptions, Progress
from bevdiag.rules.checks import check_config
from bevdiag.rules.codes import CODES, RuleStage
from bevdiag.rules.finding import Finding, Severity
from bevdiag.rules.pages import codes_for, named_in, rule_page, signatures


def explain(
    text: str, config: Path | None, options: InspectOptions, progress: Progress
) -> Explanation:
    """Explain the last failure of a message or log.

    Args:
        text: the message, or a log that holds one.
        config: the model's config; None decodes the text alone and needs no torch.
        options: how the step was run.
        progress: called with what is being done.

    Raises:
        InputError: the text holds no failure.
        NoVerdictError: it holds one that bevdiag does not know.
        BevdiagError: the config or an option cannot be used.
    """
    failures = read_log(text)
    if not failures:
        raise unknown_text(text, config, options.overrides)
    failure = failures[-1]
    answer = Explanation(
        failure=failure,
        others=failures[:-1],
        decoded=decode(failure),
        cause=cause_of(failure),
        notes=tuple(_unknown_beside(text, failure)),
    )
    if failure.kind is FAULT or failure.codes:
        return suspect(answer, config, options, progress)
    if config is None:
        return answer
    if not failure.kind.predictable or failure.requested is None:
        note = (
            "The message has no figure: which allocation of the step it was, nothing tells."
            if failure.kind.predictable
            else f"It came from {failure.kind.who}: no allocation of the predicted step is meant."
        )
        return replace(answer, notes=(*answer.notes, note))
    progress("importing torch", 0.0)
    from bevdiag.explain.candidates import predicted_cases, search

    progress("training step", 0.1)
    target, cases, notes = predicted_cases(answer.failure, config, options)
    progress("searching the step", 0.8)
    return replace(
        answer,
        config=str(config),
        target=target,
        candidates=search(answer.failure, cases),
        notes=(*answer.notes, *notes),
    )


_ERROR = re.compile(
    r"^.{0,200}?\b\w{0,80}(?:Error|Exception|error|failed|fault)\b.*$", re.MULTILINE
)
_RAISED = re.compile(r"^.{0,40}?\b([A-Z]\w{0,60}(?:Error|Exception)): ")
_SAYS_THAT_ANOTHER_FAILED = (
    "CalledProcessError", "ChildFailedError", "ProcessExitedException", "ProcessRaisedException",
)  # fmt: skip
_LAST_LINES = 1000
_MISSING = re.compile(r"No module named '?([\w.]{1,80})")
_WORD = re.compile(r"\d[\d,]*(?!\w)|\w+")
_STEP_STAGES = (RuleStage.STEP, RuleStage.TRACE)


def suspect(
    answer: Explanation, config: Path | None, options: InspectOptions, progress: Progress
) -> Explanation:
    """Add the rules that know the text to the answer, and what they find in the config.

    Raises:
        BevdiagError: the config or an option cannot be used.
    """
    codes, text, stack = answer.failure.codes, answer.failure.sentence, answer.failure.stack
    stages = {CODES[code].stage for code in codes}
    found: list[Finding] = []
    looked_at: dict[RuleStage, str] = {}
    notes = list(answer.notes)
    if config is not None:
        found += check_config(config, read_document(config, options.overrides))
        looked_at[RuleStage.CONFIG] = "the config"
        traced = None
        if stages & set(_STEP_STAGES):
            traced = _of_step(config, options, progress, notes)
        if traced is not None:
            found += traced
            looked_at |= dict.fromkeys(_STEP_STAGES, "the predicted step")
        others = [f for f in found if f.code not in codes and f.severity is Severity.ERROR]
        notes += [f"the config has another fault: {f.code} {f.message}" for f in others]
    if missing := _MISSING.search(text):
        notes.append(f"the module {missing[1]} comes with: {install_command(missing[1])}")
    if RuleStage.ENVIRONMENT in stages:
        notes.append(
            "bevdiag doctor looks at the environment that this was printed in; --requirements FILE "
            "at one that a list describes"
        )
    if not codes:
        notes.append(
            f"{', '.join(codes_for(text, None))} would be the rule for this text elsewhere in the "
            f"detector; the traceback ends in {stack.part or stack.frame}, where no rule looks for "
            "it"
        )
    suspicions = (
        _suspicion(
            code,
            looked_at.get(CODES[code].stage, ""),
            tuple(finding for finding in found if finding.code == code),
            text,
        )
        for code in codes
    )
    return replace(
        answer,
        config="" if config is None else str(config),
        suspicions=tuple(sorted(suspicions, key=lambda one: list(Certainty).index(one.certainty))),
        notes=tuple(notes),
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


def _unknown_beside(text: str, failure: Failure) -> Iterator[str]:
    """Say which error that is not known may be the one that counts, not the failure.

    It is the last that was raised behind the failure, or anywhere where the failure is the end of a
    process that printed nothing that is known.
    """
    lines = text.splitlines()[0 if failure.is_silent else failure.line :]
    for line in reversed(lines[-_LAST_LINES:]):
        raised = _RAISED.match(line)
        if raised and raised[1] not in _SAYS_THAT_ANOTHER_FAILED and not read_log(line):
            what = " ".join(line.split())[:200]
            yield f"the text has an error unknown to bevdiag, which may be the cause: {what}"
            return


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
