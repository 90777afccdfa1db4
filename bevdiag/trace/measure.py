"""The same training step on a real GPU, measured; runs in a child process of its own.

The child may die of anything: it reports after every module of the first step and after every
phase, so that the parent has what was measured until then.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from bevdiag import sparse
from bevdiag.children import Tell, announce, whereabouts
from bevdiag.config import DetectorConfig
from bevdiag.errors import InputError, NoVerdictError
from bevdiag.memory.device import cudnn_of_number
from bevdiag.memory.events import Phase
from bevdiag.memory.profile import PhaseUse
from bevdiag.models.backbones_3d.voxel_growth import VoxelGrowth
from bevdiag.models.builder import build_detector
from bevdiag.models.interfaces import uses_direct_table
from bevdiag.scenes import Batch
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.inputs import real_batch
from bevdiag.trace.optimizers import build_optimizer
from bevdiag.trace.step import StepOptions
from bevdiag.trace.training_step import cuda_step


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureTask:
    """What the child is to run. `capacity_bytes` caps the allocator, None leaves the card whole."""

    config: DetectorConfig
    batch: Batch
    options: StepOptions
    seed: int
    capacity_bytes: int | None
    cudnn_benchmark: bool = False


@dataclass(slots=True, kw_only=True)
class StepMeasurements:
    """What came back, as far as the child got.

    Attributes:
        phases: each with its step.
        modules: allocated bytes when each module's forward returned, last step.
        kept_voxels: what each module that decides by value kept, by site and step (see `pins`).
        step: the step that was begun last.
        oom_message: PyTorch's message if memory ran out, else None.
        context_bytes: what the process held on the GPU outside the allocator.
    """

    gpu: str = ""
    torch: str = ""
    cudnn: str = ""
    total_bytes: int = 0
    phases: list[tuple[int, PhaseUse]] = field(default_factory=list)
    peak_reserved_bytes: int = 0
    modules: dict[str, int] = field(default_factory=dict)
    kept_voxels: dict[str, int] = field(default_factory=dict)
    step: int = 0
    oom_message: str | None = None
    context_bytes: int | None = None

    @property
    def peak_allocated_bytes(self) -> int | None:
        """Highest of the steps after the first, None if none ended."""
        peaks = [use.peak_allocated_bytes for step, use in self.phases if step >= 2]
        return max(peaks) if peaks else None


_FOLLOWING = {Phase.FORWARD: Phase.BACKWARD, Phase.BACKWARD: Phase.OPTIMIZER}


def require_cuda() -> None:
    """Refuse where there is nothing to measure on.

    Raises:
        InputError: there is no CUDA device.
    """
    if not torch.cuda.is_available():
        raise InputError(
            "--device cuda: this machine has no usable CUDA device: use --device meta, which needs "
            "none"
        )


def run_child(task: MeasureTask, tell: Tell) -> StepMeasurements:
    """Measure, telling what there is of `StepMeasurements` after each phase.

    Raises:
        NoVerdictError: anything but an exhausted memory, which is a result.
    """
    result = StepMeasurements()
    try:
        _measure(task, result, partial(tell, result))
    except torch.OutOfMemoryError as error:
        result.oom_message = str(error).partition(" If reserved but")[0]
    except Exception as error:  # what a foreign kernel raises is for the parent to tell
        reason = f"stopped with {type(error).__name__}: {error}"
        raise NoVerdictError(f"the measuring process {reason}, {whereabouts()}") from error
    return result


def _measure(task: MeasureTask, result: StepMeasurements, report: Callable[[], object]) -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    properties = torch.cuda.get_device_properties(device)
    result.gpu, result.total_bytes = properties.name, properties.total_memory
    result.torch = torch.__version__
    number = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    result.cudnn = "" if number is None else ".".join(map(str, cudnn_of_number(number)))
    if task.capacity_bytes is not None:
        share = min(1.0, task.capacity_bytes / properties.total_memory)
        torch.cuda.set_per_process_memory_fraction(share, device)
    torch.backends.cudnn.benchmark = task.cudnn_benchmark
    torch.manual_seed(task.seed)
    model = _build(task.config, device)
    model.train()

    def leave(path: str, module: nn.Module, inputs: Any, output: Any) -> None:
        result.modules[path] = torch.cuda.memory_allocated()
        if isinstance(module, VoxelGrowth):
            result.kept_voxels[f"{path}.kept_voxels@{result.step}"] = module.num_kept
        if result.step == 1:
            report()

    def end_phase(phase: Phase) -> None:
        torch.cuda.synchronize()
        use = PhaseUse(
            phase=phase,
            peak_allocated_bytes=torch.cuda.max_memory_allocated(),
            allocated_after_bytes=torch.cuda.memory_allocated(),
        )
        result.phases.append((result.step, use))
        result.peak_reserved_bytes = max(
            result.peak_reserved_bytes, torch.cuda.max_memory_reserved()
        )
        torch.cuda.reset_peak_memory_stats()
        report()

    optimizer = build_optimizer(model, task.config.optimization, task.options.optimizer)
    # The main thread's cuBLAS workspace, which every trace counts from the start (see step.py).
    torch.ones(1, 1, device=device) @ torch.ones(1, 1, device=device)
    batch = real_batch(task.batch, device)
    with Attribution(model, leave):
        for step in range(1, task.options.num_steps + 1):
            clip = task.config.optimization.grad_norm_clip
            running = cuda_step(
                model, batch, optimizer, autocast=task.options.autocast, max_norm=clip
            )
            result.step = step
            torch.cuda.reset_peak_memory_stats()
            announce(f"in the forward phase of step {step}")
            for phase in running.ended():
                end_phase(phase)
                if phase in _FOLLOWING:
                    announce(f"in the {_FOLLOWING[phase].value} phase of step {step}")
    free, total = torch.cuda.mem_get_info(device)
    result.context_bytes = total - free - torch.cuda.memory_reserved(device)


def _build(config: DetectorConfig, device: torch.device) -> nn.Module:
    """Build with weights drawn on the CPU, as a training script draws them before it moves it.

    A GPU draws others for the same seed, and with them other voxels would be kept than the
    predictions for that seed say.
    """
    with sparse.library("cuda", direct_table=uses_direct_table(config.model)) as spconv:
        drawn, model = (
            build_detector(config.model, config.data, config.class_names, spconv=spconv, device=on)
            for on in (torch.device("cpu"), device)
        )
    model.load_state_dict(drawn.state_dict())
    return model
