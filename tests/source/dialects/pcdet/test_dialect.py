import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bevdiag.memory.events import Category
from bevdiag.scenes import Scenario
from bevdiag.source import read_saved_batch, read_source_config
from bevdiag.source.dialects.pcdet.dialect import OpenPcdet
from bevdiag.source.dialects.pcdet.supply import LoadedBatch
from bevdiag.trace.alternatives import TracedStep
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.wiring_batch import BatchWatch
from tests.source.tracing import trace_source

_REPOSITORY = Path(__file__).parents[2] / "repo"
_SETTINGS = read_source_config(_REPOSITORY / "tools/cfgs/models/one_stage.yaml")


class _Encoder(nn.Module):
    num_point_features = 6

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch["features"] = self.linear(batch["points"])
        return batch


class _Detector(nn.Module):
    def __init__(self, *, layer: nn.Module) -> None:
        super().__init__()
        self.encoder = _Encoder()
        self.layer = layer

    def forward(self, batch: dict[str, Any]) -> Any:
        loss = self.layer(self.encoder(batch)["features"]).sum()
        return {"loss": loss}, {}, {}


def _run(layer: nn.Module) -> torch.Tensor:
    model = _Detector(layer=layer)
    with Attribution(model) as attribution:
        batch = LoadedBatch(points=torch.ones(2, 3))
        attribution.begin_step()
        BatchWatch(model, attribution).begin(batch)
        return OpenPcdet(_REPOSITORY, _SETTINGS).loss(model, batch)


def test_a_layer_that_is_fed_other_channels_is_reported_by_whom() -> None:
    reported = (
        r"mat1 and mat2 shapes cannot be multiplied .*; the features read last are features, 4 "
        "channels, of encoder, which declares 6"
    )
    with pytest.raises(RuntimeError, match=reported):
        _run(nn.Linear(6, 1))


def test_a_step_that_runs_gives_its_loss() -> None:
    assert _run(nn.Linear(4, 1)).dim() == 0


REPOSITORY = Path(__file__).parents[2] / "own_data"
CONFIG = REPOSITORY / "tools" / "cfgs" / "own.yaml"
PLAIN = 8 * 4 + 4
LOOSE = 1000
Traced = Callable[..., TracedStep]


@pytest.fixture
def traced(tmp_path: Path) -> Traced:
    points = np.random.default_rng(0).uniform(0, 20, (140, 9))
    points[:, 0] = np.repeat([0, 1], 70)
    np.savez(tmp_path / "batch.npz", points=points, gt_boxes=np.ones((2, 3, 8)), batch_size=2)
    scenes: Any = {Scenario.EXPECTED: read_saved_batch(tmp_path / "batch.npz")}

    def trace(
        model: str, written: str = "adamW", optimizer: str = "adamw", root: Path = REPOSITORY
    ) -> TracedStep:
        texts = (f"MODEL.NAME={model}", f"OPTIMIZATION.OPTIMIZER={written}")
        return trace_source(CONFIG, root, scenes=scenes, overrides=texts, optimizer=optimizer)

    return trace


def _state(trace: TracedStep) -> int:
    """Values that the optimizer keeps."""
    kept = trace.expected.stream.allocs()
    return sum(e.nbytes for e in kept if e.category is Category.OPTIMIZER_STATE) // 4


def test_the_optimizer_is_the_repositorys_own_under_its_own_name(traced: Traced) -> None:
    trace = traced("Loose", "adam_cosin", "adam_onecycle")
    assert dict(trace.expected.params_not_optimized) == {}
    assert _state(trace) >= 2 * (PLAIN + LOOSE)


def test_what_its_optimizer_leaves_out_is_left_out(traced: Traced) -> None:
    assert dict(traced("Loose").expected.params_not_optimized) == {"loose": LOOSE}


def test_an_optimizer_of_the_options_replaces_it(traced: Traced) -> None:
    trace = traced("Loose", optimizer="sgd")
    assert dict(trace.expected.params_not_optimized) == {}
    assert 0 < _state(trace) < 2 * LOOSE


def test_one_that_cannot_be_built_is_said_with_its_place(traced: Traced) -> None:
    trace = traced("Loose", "lion")
    (said,) = [finding for finding in trace.findings if "the optimizer is the one of" in finding]
    assert "optimization/__init__.py:27: NotImplementedError: there is no optimizer lion" in said
    assert dict(trace.expected.params_not_optimized) == {}


def test_the_loss_is_that_of_the_training_loops_function(traced: Traced) -> None:
    assert traced("InParts").expected.params_without_grad == {}


def test_the_package_may_be_called_anything(traced: Traced, tmp_path: Path) -> None:
    renamed = tmp_path / "repository"
    shutil.copytree(REPOSITORY, renamed)
    (renamed / "pcdet").rename(renamed / "sonardet")
    trace = traced("Loose", root=renamed)
    assert trace.expected.params_by_module["total"] == PLAIN + LOOSE
