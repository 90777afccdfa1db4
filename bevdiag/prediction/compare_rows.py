"""The rows of a comparison: what was asked for, and what tracing it came to."""

from dataclasses import dataclass

from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.judged import judged
from bevdiag.prediction.variants import Variant as Row
from bevdiag.trace.step import Trace


@dataclass(frozen=True, slots=True)
class Asked:
    """One combination of the axes of a comparison."""

    compression: str
    batch_size: int
    autocast: str


def traced_row(
    asked: Asked,
    target: DeviceTarget,
    trace: Trace,
    upper_trace: Trace,
    base: int | None,
) -> Row:
    """The figures of a traced step, the channels of its BEV map left open.

    Args:
        asked: what was asked for.
        target: the GPU and versions to judge by.
        trace: the step with the expected counts.
        upper_trace: the step with the highest ones.
        base: peak of the base line in bytes, None for the base line itself.
    """
    step = judged({"expected": trace, "high": upper_trace}, target)
    largest = step.expected.largest_request
    peak = step.expected.peak.allocated_bytes
    return Row(
        compression=asked.compression,
        batch_size=asked.batch_size,
        autocast=asked.autocast,
        bev_channels=None,
        params=trace.params_by_module["total"],
        peak_allocated_bytes=peak,
        high_bytes=step.high_bytes,
        reserved_bytes=step.expected.peak_reserved_bytes,
        largest_request_bytes=largest.nbytes if largest else None,
        largest_request_module=largest.alloc.module if largest else "",
        difference_bytes=None if base is None else peak - base,
        verdict=step.verdict,
        fits=tuple(fit.gpu for fit in step.gpus() if fit.verdict is Verdict.FITS),
    )


def failed_row(asked: Asked, why: str) -> Row:
    """What cannot be traced has no figures and no verdict."""
    return Row(
        compression=asked.compression,
        batch_size=asked.batch_size,
        autocast=asked.autocast,
        bev_channels=None,
        params=None,
        peak_allocated_bytes=None,
        high_bytes=None,
        reserved_bytes=None,
        largest_request_bytes=None,
        largest_request_module="",
        difference_bytes=None,
        verdict=Verdict.UNKNOWN,
        fits=(),
        error=why,
    )
