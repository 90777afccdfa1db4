"""Figures that every kind of inspection reports."""

from collections.abc import Mapping

from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.events import Alloc
from bevdiag.memory.oom import oom_message
from bevdiag.memory.profiles import DeviceProfile
from bevdiag.memory.simulate import simulate
from bevdiag.memory.workspaces import Bound
from bevdiag.prediction.memory_use import OutOfMemory
from bevdiag.prediction.result import SCENE_SITE, Assumption, Scene, Target
from bevdiag.scenes import Batch, Scenario
from bevdiag.trace.step import Trace


def oom_of(trace: Trace, target: DeviceTarget, bound: Bound = Bound.EXPECTED) -> OutOfMemory | None:
    """Where the step stops within the capacity; None if it ends."""
    if target.capacity_bytes is None:
        return None
    refusal = simulate(trace.stream, target, bound=bound).refusal
    if refusal is None:
        return None
    return OutOfMemory(
        requested_bytes=refusal.requested_bytes,
        module=refusal.alloc.module,
        phase=refusal.alloc.phase.value,
        step=refusal.alloc.step,
        what=_what(refusal.alloc),
        message=oom_message(refusal, target),
    )


def _what(alloc: Alloc) -> str:
    shape = " x ".join(map(str, alloc.shape))
    return f"{alloc.category.value} of {alloc.op}" + (f", {shape} {alloc.dtype}" if shape else "")


def target_of(target: DeviceTarget) -> Target:
    """The target as reports show it."""
    return Target(
        gpu=target.gpu,
        capacity_bytes=target.capacity_bytes,
        torch=target.torch,
        cudnn=".".join(map(str, target.cudnn)),
        compute_capability=".".join(map(str, target.compute_capability)),
        profile=None if target.profile is None else _profile(target.profile),
        cudnn_benchmark=target.cudnn_benchmark,
        loop=target.loop,
        context_bytes=target.context_bytes,
        origin=target.origin,
    )


def _profile(profile: DeviceProfile) -> str:
    cudnn = ".".join(map(str, profile.cudnn))
    return f"{profile.gpu}, torch {profile.torch}, cuDNN {cudnn}"


def batch_scene(batch: Batch) -> Scene:
    """The input as reports show it."""
    return Scene(
        source=batch.source,
        batch_size=batch.batch_size,
        num_points=len(batch.points),
        num_voxels=batch.num_voxels,
        grid_size=batch.grid_size,
    )


def scene_assumption(scenes: Mapping[Scenario, Batch]) -> tuple[Assumption, ...]:
    """The scene as a count that is not known, by its voxels, or its points where it has none.

    Args:
        scenes: of every scenario that has one of its own; empty where the user gave the scene.
    """
    if len(scenes) < 2:
        return ()
    counts = {s: batch.num_voxels or len(batch.points) for s, batch in scenes.items()}
    expected = counts[Scenario.EXPECTED]
    return (
        Assumption(
            site=SCENE_SITE,
            low=min(counts.values()),
            expected=expected,
            high=max(counts.values()),
            used=expected,
            why=(
                "the frames that training meets are not known: traced with a sparse, a common and "
                "a dense synthetic one; --points and --scene give your own"
            ),
        ),
    )
