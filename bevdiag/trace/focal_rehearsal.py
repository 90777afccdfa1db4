"""What VoxelBackBone8xFocal decides in its first step, computed for real on the CPU.

The detector is built as its config says, with the weights of a seed, and run up to the last focal
convolution's importance: what follows decides nothing.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from bevdiag import sparse
from bevdiag.children import exhausts_host
from bevdiag.config import DetectorConfig
from bevdiag.config.backbone_settings import VoxelFocalBackboneSettings
from bevdiag.models.backbones_3d.focal_growth import Coords, FocalDecision
from bevdiag.models.backbones_3d.focal_sampling import decided
from bevdiag.models.builder import build_detector
from bevdiag.scenes import Batch
from bevdiag.sparse.work import listening
from bevdiag.trace.inputs import real_batch
from bevdiag.trace.rehearsal import MAX_FLOPS


@dataclass(frozen=True, slots=True, eq=False)
class FirstStep:
    """The decisions by module, each for its voxels' coordinates [N, 4]; why there are none.

    The coordinates' order is the run's own: `decision_at` finds them by their place.
    """

    levels: dict[str, tuple[Coords, FocalDecision]] = field(default_factory=dict)
    failure: str = ""

    def decision_at(self, module: str, coords: Coords) -> FocalDecision:
        """Return the module's decision for these voxels; those the run did not have stay as is."""
        seen, decision = self.levels[module]
        extents = np.concatenate((seen, coords)).max(axis=0).astype(np.int64) + 1
        keys, wanted = (np.ravel_multi_index(tuple(c.T), tuple(extents)) for c in (seen, coords))
        order = np.argsort(keys, kind="stable")
        place = np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)
        rows = order[place]
        known = keys[rows] == wanted
        return FocalDecision(
            decision.fore_mask[rows] & known, decision.kernel_mask[rows] & known[:, None]
        )


class _DecidedError(Exception):
    """All is decided."""


class _TooLargeError(Exception):
    """The run takes more arithmetic than a rehearsal may."""


class _Budget:
    """Counts the arithmetic of sparse layers as it is about to happen."""

    is_counting = True

    def __init__(self) -> None:
        self.flops = 0

    def add(self, flops: int) -> None:
        """Count what a layer computes."""
        self.flops += flops
        if self.flops > MAX_FLOPS:
            raise _TooLargeError


def rehearse_levels(
    config: DetectorConfig,
    settings: VoxelFocalBackboneSettings,
    modules: tuple[str, ...],
    batch: Batch,
    seed: int,
) -> FirstStep:
    """Build with the weights of `seed`, and run.

    Args:
        config: the detector.
        settings: its 3D backbone's.
        modules: paths of the focal convolutions, in their order.
        batch: its scene.
        seed: of the weights.
    """
    found = FirstStep()

    def note(module: str, output: Any) -> None:
        coords: Coords = output.indices.numpy().copy()
        scores = output.features.sigmoid().numpy()
        found.levels[module] = (
            coords,
            decided(scores, coords, threshold=settings.threshold, topk=settings.topk),
        )
        if module == modules[-1]:
            raise _DecidedError

    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), listening(_Budget()):
            torch.manual_seed(seed)
            model = build_detector(
                config.model,
                config.data,
                config.class_names,
                spconv=sparse.namespace("cpu"),
                device="cpu",
            )
            for module in modules:
                model.get_submodule(f"{module}.conv_imp").register_forward_hook(
                    lambda _module, _inputs, output, name=module: note(name, output)
                )
            assert model.backbone_3d is not None
            model.backbone_3d(model.vfe(real_batch(batch, "cpu")))
    except _DecidedError:
        return found
    except _TooLargeError:
        return FirstStep(
            failure=f"the backbone takes more than {MAX_FLOPS:.0e} floating point operations"
        )
    except (MemoryError, RuntimeError) as error:
        if exhausts_host(error):
            return FirstStep(failure="the host's memory does not suffice to run the backbone")
        raise
    raise AssertionError("the backbone has no focal convolution")
