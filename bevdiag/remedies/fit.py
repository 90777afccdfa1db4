"""`bevdiag fit`: the largest batch, voxel cap or points a voxel whose step fits.

Memory grows with each of the three, so the largest is bisected for: traced at the ends, then where
it is undecided, as many points at once as there are cores. Every point of the curve was traced.
"""

from pathlib import Path

from bevdiag.errors import BevdiagError, InputError
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.judged import judged
from bevdiag.prediction.options import KNOBS, InspectOptions, Progress
from bevdiag.prediction.predicted import source_of
from bevdiag.prediction.step_source import ENDS_THAT_JUDGE, ConfigSource
from bevdiag.prediction.target import require_capacity
from bevdiag.remedies.results import FitPoint, FitReport
from bevdiag.rules.finding import VOXELIZER, for_training
from bevdiag.trace.kept_voxels import Scenario
from bevdiag.trace.workers import Map, usable_cores, workers

_PRECISION = 100
"""A cap is found to one part in this many: its memory is not known better than to 1 %."""

_NO_CAP = 2**31 - 1
_MOST_SAMPLES = 256
"""No detector is trained with more samples on one GPU."""


def fit(config: Path, options: InspectOptions, knob: str, progress: Progress) -> FitReport:
    """Find the largest setting of one knob that fits.

    Raises:
        BevdiagError: a config, point file or option that cannot be used, or a knob that the
            config does not have.
    """
    declared = source_of(config, options)
    goal = require_capacity(declared.target())
    source: ConfigSource = declared.as_it_arrives()
    now = _now(source, knob, options)
    scene, _ = source.input()  # before the workers fork, so that they share it
    most = _most(source, knob)
    step = 1 if knob != "max-voxels" else max(1, most // _PRECISION)

    def attempt(value: int) -> FitPoint:
        return _point(source, goal, knob, value)

    with workers(attempt, died=_refused, timeout_seconds=options.timeout_seconds) as traced:
        points = _bisected(traced, progress, most, step, doubling=knob == "batch")
    largest = max((value for value, point in points.items() if point.fits), default=None)
    return FitReport(
        config=str(config),
        target=goal,
        scene=scene,
        knob=knob,
        unit=KNOBS[knob],
        now=now,
        largest=largest,
        binds_until=None if knob == "batch" else most,
        points=tuple(point for _, point in sorted(points.items())),
    )


def _bisected(
    traced: Map[int, FitPoint], progress: Progress, most: int, step: int, *, doubling: bool
) -> dict[int, FitPoint]:
    """Search between what fits and what does not.

    Args:
        traced: traces several values side by side.
        progress: hears what is traced.
        most: the largest value that makes a difference.
        step: how finely the answer is wanted.
        doubling: whether `most` is too far away to begin with.
    """
    points: dict[int, FitPoint] = {}
    values = [1, 2] if doubling else [1, most]
    while True:
        new = [value for value in dict.fromkeys(values) if value not in points]
        progress(f"search: {len(points)} traced", min(0.9, 0.1 * len(points)))
        points.update(zip(new, traced(new), strict=True))
        below = max((value for value, point in points.items() if point.fits), default=0)
        above = min((value for value in points if value > below), default=most + 1)
        if below == 0 or below >= most:
            return points
        if above > most and doubling:
            values = [min(2 * below, most)]
        elif above - below <= step:
            return points
        else:
            values = _between(below, above, usable_cores())


def _between(below: int, above: int, count: int) -> list[int]:
    """Up to `count` values that part the open interval evenly."""
    inner = above - below - 1
    count = min(count, inner)
    return [below + (inner + 1) * (i + 1) // (count + 1) for i in range(count)]


def _now(source: ConfigSource, knob: str, options: InspectOptions) -> int:
    if options.batch is not None:
        raise InputError(
            f"--batch: a saved batch stays as it is, its {KNOBS[knob]} too: leave it out"
        )
    if knob == "batch":
        if options.batch_size is not None:
            raise InputError("--what batch: --batch-size says how many already: leave it out")
        return source.batch_size
    scene = source.scene_settings
    now = scene.max_voxels if knob == "max-voxels" else scene.max_points
    if now is None:
        raise InputError(f"--what {knob}: this config voxelizes dynamically, without such a cap")
    return now


def _most(source: ConfigSource, knob: str) -> int:
    """Return the largest value that makes a difference: caps above every scene change nothing."""
    if knob == "batch":
        return _MOST_SAMPLES
    uncapped = _turned(source, knob, _NO_CAP)
    most = 0
    for scenario in {Scenario.EXPECTED, *uncapped.scenes_of_their_own()}:
        for sample in uncapped.batch(scenario).voxels or ():
            largest = len(sample.coords) if knob == "max-voxels" else int(sample.num_points.max())
            most = max(most, largest)
    return most


def _turned(source: ConfigSource, knob: str, value: int) -> ConfigSource:
    if knob == "batch":
        return source.run_with(batch_size=value)
    if knob == "max-voxels":
        return source.edited(
            {for_training(source.document, (*VOXELIZER, "MAX_NUMBER_OF_VOXELS")): value}
        )
    return source.edited({(*VOXELIZER, "MAX_POINTS_PER_VOXEL"): value})


def _point(source: ConfigSource, goal: DeviceTarget, knob: str, value: int) -> FitPoint:
    try:
        turned = _turned(source, knob, value)
        step = judged(turned.record(ENDS_THAT_JUDGE).traces, goal)
    except BevdiagError as error:
        return _refused(value, error)
    return FitPoint(value=value, **step.figures(turned.bev_channels))


def _refused(value: int, error: BevdiagError) -> FitPoint:
    return FitPoint(value=value, verdict=Verdict.UNKNOWN, error=str(error))
