"""A small model of the report's kind, inspected; every test reads the same few reports."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bevdiag.config import load_config
from bevdiag.memory import verdict
from bevdiag.memory.catalogue import find_gpu
from bevdiag.memory.simulate import simulate
from bevdiag.memory.verdict import Verdict
from bevdiag.memory.workspaces import Bound
from bevdiag.models.interfaces import map_input_of
from bevdiag.prediction import inspect as inspection
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import Prediction
from bevdiag.prediction.step_source import Recorded
from bevdiag.remedies.search import plans_for
from bevdiag.rules.finding import StepEvidence
from bevdiag.trace.kept_voxels import SITE, Scenario

SMALL = Path(__file__).parent / "data" / "small.yaml"
KEPT = 900


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _quiet(what: str, share: float) -> None:
    assert what
    assert 0 <= share <= 1


@pytest.fixture(autouse=True, scope="session")
def _few_gpus() -> Iterator[None]:
    """Each GPU is two more simulations, and those of three say as much here as those of all."""
    few = tuple(find_gpu(name) for name in ("rtx3080-10gb", "a100-80gb", "h200"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verdict, "all_gpus", lambda: few)
        yield


@dataclass
class Inspections:
    """Inspections of the small model; the same question is answered once a session."""

    points: Path
    _reports: dict[str, Prediction] = field(default_factory=dict)

    config = SMALL
    site = SITE
    kept = KEPT
    progress = staticmethod(_quiet)

    def options(self, *, pinned: bool = True, **wanted: Any) -> InspectOptions:
        """On meta, on the stored points, without remedies, the count pinned unless not `pinned`."""
        pins = {SITE: KEPT} if pinned else {}
        plain = InspectOptions(device="meta", points=(str(self.points),), remedies=False, pins=pins)
        return replace(plain, **wanted)

    def report(self, *, pinned: bool = True, **wanted: Any) -> Prediction:
        options = self.options(pinned=pinned, **wanted)
        key = repr(options)
        if key not in self._reports:
            self._reports[key] = inspection.inspect(
                self.config, options, self.progress, plans_for if options.remedies else None
            )
        return self._reports[key]

    def source(self, **wanted: Any) -> BuiltIn:
        return BuiltIn.read(self.config, self.options(**wanted))

    def recorded(self, **wanted: Any) -> Recorded:
        return self.source(**wanted).record()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Inspections:
    """600 points: half spread over the volume, half in one blob."""
    rng = np.random.default_rng(0)
    low, high = np.array([0, -4, -1]), np.array([8, 4, 1])
    spread = rng.uniform(low, high, (300, 3))
    blob = np.clip(rng.normal([4, 0, 0], 0.3, (300, 3)), low, high - 0.01)
    points = np.c_[np.r_[spread, blob], rng.random(600)].astype(np.float32)
    path = tmp_path_factory.mktemp("points") / "cloud.npy"
    np.save(path, points)
    return Inspections(path)


@pytest.fixture(scope="session")
def evidence(small: Inspections) -> StepEvidence:
    """What the rules look at, of a run that gives none of them a reason."""
    source = small.source(
        optimizer="adamw", compression="sparse_max", overrides=("OPTIMIZATION.OPTIMIZER=adamw",)
    )
    recorded = source.record()
    trace, target = recorded.traces[Scenario.EXPECTED], source.target()
    assert recorded.batch is not None
    config = load_config(small.config)
    return StepEvidence(
        document=config.document,
        config=config,
        autocast=source.autocast,
        optimizer=source.optimizer,
        batch=recorded.batch,
        target=target,
        map_input=map_input_of(source.config),
        trace=replace(
            trace, params_without_grad={}, wiring=replace(trace.wiring, dead_branches=())
        ),
        profile=simulate(trace.stream, target, until_oom=False),
        high=simulate(trace.stream, target, until_oom=False, bound=Bound.HIGH),
        kept_voxels=recorded.kept_voxels,
        verdict=Verdict.NO_BUDGET,
    )
