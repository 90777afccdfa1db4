"""`bevdiag preflight`: many configs through the same engine, each to its verdict."""

from collections.abc import Iterator, Sequence

from bevdiag.children import TIMEOUT_SECONDS
from bevdiag.prediction.checked import Check, Job, failed, without_ignored
from bevdiag.prediction.inspect import inspect
from bevdiag.prediction.options import Progress
from bevdiag.trace.workers import workers

_GRACE_SECONDS = 30.0


def preflight(jobs: Sequence[Job], progress: Progress) -> tuple[Check, ...]:
    """Inspect every config, several at once; the checks come in the jobs' order.

    Nothing that one config does keeps the others from being checked.
    """
    with workers(_check, died=_failed, isolated=True, timeout_seconds=_limit(jobs)) as checked:
        return tuple(_counted(checked(jobs), len(jobs), progress))


def _counted(checks: Iterator[Check], count: int, progress: Progress) -> Iterator[Check]:
    for number, check in enumerate(checks, 1):
        progress(f"configs: {number} of {count}", number / count)
        yield check


def _limit(jobs: Sequence[Job]) -> float:
    """For one config; what a worker's own child is stopped for, the worker has time to tell."""
    return max(
        (job.options.timeout_seconds or TIMEOUT_SECONDS)
        + (_GRACE_SECONDS if job.options.source or job.options.entry else 0.0)
        for job in jobs
    )


def _check(job: Job) -> Check:
    try:
        # Many configs at once report their progress by their number.
        report = inspect(job.config, job.options, lambda *_: None)
    except Exception as error:
        return _failed(job, error)
    return Check(
        config=str(job.config), budget=job.budget, report=without_ignored(report, job.ignore)
    )


def _failed(job: Job, error: Exception) -> Check:
    return failed(job.config, error, job.budget)
