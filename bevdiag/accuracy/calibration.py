"""Make a device profile: choose the calls, measure them in a child process, check what came."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bevdiag.children import in_child
from bevdiag.config.shipped import shipped_file
from bevdiag.errors import InputError, NoVerdictError
from bevdiag.memory.events import Alloc, ConvCall
from bevdiag.memory.profiles import DeviceProfile, read_profile
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.options import InspectOptions
from bevdiag.trace.calibrate import CalibrationReport, CalibrationTask, run_child
from bevdiag.trace.kept_voxels import Scenario

Progress = Callable[[str, float], None]
TIMEOUT_SECONDS = 300.0
"""For one report of the child: `REPORT_EVERY` calls."""
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
    """

    configs: tuple[Path, ...] = ()
    batch_sizes: tuple[int, ...] = ()
    autocasts: tuple[str, ...] = ()
    calls: Path | None = None
    cudnn_benchmark: bool = False


@dataclass(frozen=True, slots=True)
class Calibration:
    """The profile, and how many calls could not be measured."""

    profile: DeviceProfile
    left_out: int


def calibrate(options: CalibrationOptions, progress: Progress) -> Calibration:
    """Measure the GPU at hand.

    Raises:
        NoVerdictError: there is no GPU, or the measuring process failed.
        BevdiagError: a config or a profile that cannot be used.
    """
    if not torch.cuda.is_available():
        raise NoVerdictError(
            "calibrate measures a GPU, and this machine has no usable CUDA device: run it where "
            "there is one and give the profile to --profile here"
        )
    grid = _grid(options.calls)
    models = calls_of(options, progress)
    wants_benchmark = options.cudnn_benchmark
    calls = tuple({**dict.fromkeys(grid.workspaces), **dict.fromkeys(models)})
    benchmarked = tuple({**grid.benchmarked, **dict.fromkeys(models if wants_benchmark else ())})
    held_bytes = _held_bytes()
    total = len(calls) + len(benchmarked)
    profile = _measured(
        CalibrationTask(calls=calls, cudnn_benchmark=False, held_bytes=held_bytes),
        lambda done: progress("convolutions", done / total),
    ).profile
    assert profile is not None
    if benchmarked:
        found = _measured(
            CalibrationTask(calls=benchmarked, cudnn_benchmark=True, held_bytes=held_bytes),
            lambda done: progress("cudnn.benchmark", (len(calls) + done) / total),
        ).benchmarked
        profile = replace(profile, benchmarked=found or {})
    left_out = total - len(profile.workspaces) - len(profile.benchmarked)
    return Calibration(profile, left_out)


def calls_of(options: CalibrationOptions, progress: Progress) -> set[ConvCall]:
    """The convolutions of the configs' training steps, at every batch size and autocast."""
    calls: set[ConvCall] = set()
    for number, path in enumerate(options.configs):
        progress(path.name, number / len(options.configs))
        source = BuiltIn.read(path, InspectOptions(device="meta")).as_it_arrives()
        for batch_size in options.batch_sizes or (source.batch_size,):
            for autocast in options.autocasts or (source.autocast,):
                changed = source.run_with(batch_size=batch_size, autocast=autocast)
                trace = changed.record((Scenario.EXPECTED,)).traces[Scenario.EXPECTED]
                calls |= {
                    event.request
                    for event in trace.stream.events
                    if isinstance(event, Alloc) and isinstance(event.request, ConvCall)
                }
    return calls


def _grid(path: Path | None) -> DeviceProfile:
    shipped = shipped_file(GRID)
    chosen = path if path is not None else shipped
    if chosen is None:
        raise InputError(f"this installation lacks {GRID}: name a profile with --calls")
    return read_profile(chosen)


def _held_bytes() -> int:
    """What other processes hold on the GPU, 0 where NVML does not tell."""
    import pynvml

    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        return sum(
            process.usedGpuMemory or 0
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
        )
    except pynvml.NVMLError:
        return 0


def _measured(task: CalibrationTask, tell: Callable[[int], None]) -> CalibrationReport:
    """What the child measured.

    Raises:
        NoVerdictError: the child failed, died or went silent.
    """
    return in_child(
        run_child,
        task,
        name="the measuring process",
        told=tell,
        timeout_seconds=TIMEOUT_SECONDS,
    )
