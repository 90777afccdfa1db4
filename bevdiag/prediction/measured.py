"""Run the step on the GPU at hand in a child process, and set it beside the prediction."""

from bevdiag.children import in_child
from bevdiag.environment.gpus import read_driver
from bevdiag.errors import NoVerdictError
from bevdiag.memory.profile import MemoryProfile
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.result import Measurement
from bevdiag.trace.measure import MeasureTask, StepMeasurements, require_cuda, run_child
from bevdiag.trace.step import StepOptions, Trace

NUM_STEPS = 3


def measure(source: BuiltIn) -> tuple[StepMeasurements, str | None]:
    """Measure a step; the second value says how the child failed, None if it ended well.

    An exhausted memory is a result, not a failure.

    Raises:
        InputError: there is no CUDA device.
    """
    require_cuda()
    target = source.target()
    task = MeasureTask(
        config=source.config,
        batch=source.batch(),
        options=StepOptions(
            optimization=source.config.optimization,
            optimizer=source.optimizer,
            autocast=source.autocast,
            num_steps=NUM_STEPS,
        ),
        seed=source.options.seed,
        capacity_bytes=target.capacity_bytes,
        cudnn_benchmark=target.cudnn_benchmark,
    )
    seen = [StepMeasurements()]
    try:
        ended = in_child(
            run_child,
            task,
            name="the measuring process",
            reported=seen.append,
            timeout_seconds=source.options.timeout_seconds,
        )
    except NoVerdictError as failure:
        return seen[-1], str(failure)
    return ended, None


def measurement_of(
    measured: StepMeasurements, failure: str | None, trace: Trace, profile: MemoryProfile
) -> Measurement:
    """Put what was measured beside the prediction for the same kept voxels."""
    peak = measured.peak_allocated_bytes
    predicted_peak = profile.peak.allocated_bytes
    curve = profile.timeline
    last = max((step for step, _ in measured.phases), default=0)
    return Measurement(
        gpu=measured.gpu,
        torch=measured.torch,
        cudnn=measured.cudnn,
        peak_allocated_bytes=peak,
        peak_reserved_bytes=measured.peak_reserved_bytes or None,
        error_percent=None if peak is None else 100 * (predicted_peak - peak) / peak,
        phases={use.phase.value: use for step, use in measured.phases if step == last},
        modules=dict(measured.modules),
        # When each module's forward returned in the last step, as simulated.
        predicted_modules={
            path: int(curve.allocated[index])
            for path, position in trace.departures.items()
            if path in measured.modules and (index := position - 1 - curve.start) >= 0
        },
        context_bytes=measured.context_bytes,
        other_processes=other_processes(),
        kept_voxels=dict(measured.kept_voxels),
        oom_message=measured.oom_message,
        failure=failure,
    )


def other_processes() -> tuple[str, ...]:
    """Who else computes on the first GPU, as NVML tells; empty where NVML is not there."""
    driver = read_driver()
    gpus = driver.gpus[:1] if driver is not None else ()
    return tuple(
        f"process {process.pid}: {process.nbytes or 0} bytes"
        for gpu in gpus
        for process in gpu.processes
        if process.computes
    )
