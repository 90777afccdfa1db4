"""Answer `bevdiag explain`: decode the message, predict the step, find the allocation."""

from dataclasses import replace
from pathlib import Path

from bevdiag.explain.answer import PREDICTABLE, Explanation, FailureKind
from bevdiag.explain.decode import cause_of, decode
from bevdiag.explain.faults import suspect, unknown_text
from bevdiag.explain.messages import read_log
from bevdiag.prediction.options import InspectOptions, Progress


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
    )
    if failure.kind is FailureKind.FAULT or failure.codes:
        return suspect(answer, config, options, progress)
    if config is None:
        return answer
    if failure.kind not in PREDICTABLE or failure.requested is None:
        note = f"It came from {failure.kind.value}: no allocation of the predicted step is meant."
        return replace(answer, notes=(note,))
    return _predicted(answer, config, options, progress)


def _predicted(
    answer: Explanation, config: Path, options: InspectOptions, progress: Progress
) -> Explanation:
    progress("importing torch", 0.0)
    from bevdiag.explain.candidates import search
    from bevdiag.explain.cases import predicted_cases
    from bevdiag.prediction.target import target_of

    progress("training step", 0.1)
    target, cases, notes = predicted_cases(answer.failure, config, options)
    progress("searching the step", 0.8)
    return replace(
        answer,
        config=str(config),
        target=target_of(target),
        candidates=search(answer.failure, cases),
        notes=notes,
    )
