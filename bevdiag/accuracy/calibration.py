"""Make a device profile: choose the calls, measure them in child processes, keep what came.

A library may crash in a call, and a person may stop the work. What was measured is kept: the next
process goes on behind the call that ended the last one, and a later run behind what its file has.
Without a config, nothing here needs more of torch than its convolutions: it measures releases
that are too old to trace with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from bevdiag.children import in_child
from bevdiag.environment.gpus import read_driver
from bevdiag.errors import InputError, NoVerdictError
from bevdiag.files.shipped import shipped_file
from bevdiag.memory.profiles import BenchmarkBytes, DeviceProfile, read_profile
from bevdiag.memory.requests import ConvCall
from bevdiag.prediction.options import InspectOptions, Progress
from bevdiag.trace.calibrate import READY, CalibrationTask, MeasuredCall, call_words, run_child

Keep = Callable[[DeviceProfile], None]
TIMEOUT_SECONDS = 300.0
"""For one call."""
KEEP_EVERY = 500
"""Calls between two times that the profile is kept."""
MOST_DEATHS = 50
"""In a row, with nothing measured between them. Calls that are alike may all end their process."""
GRID = "configs/devices/h200-torch2.11-cudnn9.19.0.json"
"""The shipped profile whose calls are measured everywhere: typical layers of BEV detectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationOptions:
    """What to measure beside the shipped grid of calls.

    Attributes:
        configs: models whose convolutions are measured too.
        batch_sizes: of those models; empty for each config's own.
        autocasts: likewise.
        calls: a profile whose calls replace the shipped grid, None for that.
        cudnn_benchmark: measure the models' convolutions with `cudnn.benchmark` too.
        known: what an earlier run measured; it is not measured again.
    """

    configs: tuple[Path, ...] = ()
    batch_sizes: tuple[int, ...] = ()
    autocasts: tuple[str, ...] = ()
    calls: Path | None = None
    cudnn_benchmark: bool = False
    known: DeviceProfile | None = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """The profile, how many calls could not be measured, and how some ended their process."""

    profile: DeviceProfile
    left_out: int
    crashes: tuple[str, ...] = ()


def _drop(_: DeviceProfile) -> None:
    pass


def calibrate(options: CalibrationOptions, progress: Progress, keep: Keep = _drop) -> Calibration:
    """Measure the GPU at hand.

    Args:
        options: what to measure.
        progress: called with what is being done.
        keep: called now and then with what there is of the profile.

    Raises:
        NoVerdictError: there is no GPU, or no process can measure anything.
        BevdiagError: a config or a profile that cannot be used.
    """
    if not torch.cuda.is_available():
        raise NoVerdictError(
            "calibrate measures a GPU, and this machine has no usable CUDA device: run it where "
            "there is one and give the profile to --profile here"
        )
    grid = _grid(options.calls)
    models = calls_of(options, progress)
    known = options.known
    wanted = {**dict.fromkeys(grid.workspaces), **models}
    timed = {**dict.fromkeys(grid.benchmarked), **(models if options.cudnn_benchmark else {})}
    done = {*known.workspaces, *known.crashed} if known else set()
    calls = [call for call in wanted if call not in done]
    benchmarked = [call for call in timed if not known or call not in known.benchmarked]
    work = _Work(_held_bytes(), known, len(calls) + len(benchmarked), progress, keep)
    work.measure(calls, cudnn_benchmark=False)
    if benchmarked:
        work.measure(benchmarked, cudnn_benchmark=True)
    profile = work.profile
    assert profile is not None
    left_out = len({*wanted} - {*profile.workspaces}) + len({*timed} - {*profile.benchmarked})
    return Calibration(profile, left_out, tuple(work.crashes))


@dataclass
class _Work:
    """What was measured so far, by as many processes as it took."""

    held_bytes: int
    known: DeviceProfile | None
    total: int
    progress: Progress
    keep: Keep
    profile: DeviceProfile | None = None
    crashes: list[str] = field(default_factory=list)
    done: int = 0

    def __post_init__(self) -> None:
        known = self.known
        self._workspaces = dict(known.workspaces) if known else {}
        self._benchmarked = dict(known.benchmarked) if known else {}
        self._crashed = set(known.crashed) if known else set()

    def measure(self, calls: Sequence[ConvCall], *, cudnn_benchmark: bool) -> None:
        """Measure the calls in a process, and in another one behind each that ended it.

        Raises:
            NoVerdictError: the GPU does not work, or no call can be measured on it.
        """
        left, deaths = list(calls), 0
        while left or self.profile is None:
            seen, is_ready = 0, False

            def heard(report: str | DeviceProfile | MeasuredCall) -> None:
                nonlocal seen, is_ready
                if isinstance(report, str):
                    is_ready = report == READY
                elif isinstance(report, DeviceProfile):
                    self._begin(report)
                else:
                    seen += 1
                    self._take(report, cudnn_benchmark=cudnn_benchmark)

            task = CalibrationTask(
                calls=tuple(left),
                cudnn_benchmark=cudnn_benchmark,
                held_bytes=self.held_bytes,
                is_first=self.profile is None,
            )
            try:
                _in_child(task, heard)
            except NoVerdictError as error:
                deaths = 1 if seen else deaths + 1
                is_calls_fault = is_ready and self.profile is not None and seen < len(left)
                if not is_calls_fault or deaths > MOST_DEATHS:
                    raise
                self._skip(left[seen], error)
                left = left[seen + 1 :]
            else:
                left = []
        self._put()

    def _begin(self, device: DeviceProfile) -> None:
        known = self.known
        if known is not None:
            now, then = ((p.gpu.name, p.torch, p.cudnn) for p in (device, known))
            if now != then:
                raise InputError(
                    f"the profile to go on with is of {known.words}, and this is "
                    f"{device.words}: name another file"
                )
        self.profile = device

    def _take(self, report: MeasuredCall, *, cudnn_benchmark: bool) -> None:
        if report.first is not None and report.later is not None:
            if cudnn_benchmark:
                self._benchmarked[report.call] = BenchmarkBytes(
                    trial_bytes=report.first, steady_bytes=report.later
                )
            else:
                self._workspaces[report.call] = report.later
        self.done += 1
        doing = "cudnn.benchmark" if cudnn_benchmark else "convolutions"
        self.progress(doing, self.done / self.total)
        if self.done % KEEP_EVERY == 0:
            self._put()

    def _skip(self, call: ConvCall, error: NoVerdictError) -> None:
        self.crashes.append(f"{call_words(call)}: {error}")
        self._crashed.add(call)
        self.done += 1
        self._put()

    def _put(self) -> None:
        assert self.profile is not None
        self.profile = replace(
            self.profile,
            workspaces=dict(self._workspaces),
            benchmarked=dict(self._benchmarked),
            crashed=frozenset(self._crashed),
        )
        self.keep(self.profile)


def _in_child(task: CalibrationTask, tell: Callable[[Any], None]) -> None:
    in_child(
        run_child,
        task,
        name="the measuring process",
        reported=tell,
        timeout_seconds=TIMEOUT_SECONDS,
    )


def calls_of(options: CalibrationOptions, progress: Progress) -> dict[ConvCall, None]:
    """Return the convolutions of the configs' steps, at every batch size and autocast.

    Raises:
        BevdiagError: a config that cannot be used.
    """
    if not options.configs:
        return {}
    from bevdiag.prediction.built_in import BuiltIn
    from bevdiag.trace.kept_voxels import Scenario

    calls: dict[ConvCall, None] = {}
    for number, path in enumerate(options.configs):
        progress(path.name, number / len(options.configs))
        source = BuiltIn.read(path, InspectOptions(device="meta")).as_it_arrives()
        for batch_size in options.batch_sizes or (source.batch_size,):
            for autocast in options.autocasts or (source.autocast,):
                changed = source.run_with(batch_size=batch_size, autocast=autocast)
                trace = changed.record((Scenario.EXPECTED,)).traces[Scenario.EXPECTED]
                requests = trace.stream.requests
                calls |= dict.fromkeys(call for call in requests if isinstance(call, ConvCall))
    return calls


def _grid(path: Path | None) -> DeviceProfile:
    shipped = shipped_file(GRID)
    chosen = path if path is not None else shipped
    if chosen is None:
        raise InputError(f"this installation lacks {GRID}: name a profile with --calls")
    return read_profile(chosen)


def _held_bytes() -> int:
    """Return what other processes hold on the GPU, 0 where NVML does not tell."""
    driver = read_driver()
    first = driver.gpus[0].processes if driver is not None and driver.gpus else ()
    return sum(process.nbytes or 0 for process in first if process.computes)
