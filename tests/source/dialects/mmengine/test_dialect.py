"""What the wrapper of a config adds to the step, on models of this test."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bevdiag.config.model_settings import OptimizationSettings
from bevdiag.errors import NoVerdictError
from bevdiag.memory.loop import Loop
from bevdiag.source.dialects.mmengine.dialect import MMEngine
from bevdiag.source.dialects.openmmlab import is_sparse
from bevdiag.source.simulated_gpu import SimulatedGpu
from bevdiag.source.state import begin
from bevdiag.source.stubs.small_packages import EasyDict
from bevdiag.trace.assumed_values import AssumedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.ops import new_recorder
from bevdiag.trace.step import StepOptions
from bevdiag.trace.wiring_batch import WatchedBatch


class _Model(nn.Module):
    """A model of MMEngine's kind: a preprocessor, `loss` mode, `parse_losses`."""

    def data_preprocessor(self, data: Any, training: bool) -> Any:
        assert training
        data["inputs"]["voxels"] = torch.ones(3)
        return data

    def forward(self, inputs: Any, data_samples: Any, mode: str) -> Any:
        assert mode == "loss"
        return {"loss_cls": inputs["voxels"], "acc": torch.tensor(5.0)}

    def parse_losses(self, losses: Any) -> Any:
        return losses["loss_cls"].sum(), {}


def _dialect(**wrapper: Any) -> MMEngine:
    dialect = MMEngine(Path(), Path("a.py"), ())
    dialect._config = EasyDict({"optim_wrapper": wrapper})
    return dialect


def _batch(*images: torch.Tensor) -> WatchedBatch:
    return WatchedBatch(inputs={"img": list(images)}, data_samples=[])


@pytest.fixture
def values() -> AssumedValues:
    assumed = AssumedValues(Scenario.EXPECTED, {})
    recorder = new_recorder(Attribution(nn.Module()))
    begin(SimulatedGpu(recorder, assumed))
    return assumed


@pytest.mark.parametrize(
    ("wrapper", "autocast", "asked", "expected"),
    [
        ({"type": "OptimWrapper"}, "fp16", Loop(), Loop()),
        ({"type": "AmpOptimWrapper"}, "fp16", Loop(), Loop(scaler=True)),
        ({"type": "AmpOptimWrapper"}, "off", Loop(), Loop()),
        ({"type": "OptimWrapper", "accumulative_counts": 4}, "off", Loop(), Loop(accumulate=4)),
        ({"type": "W", "accumulative_counts": 4}, "off", Loop(accumulate=2), Loop(accumulate=2)),
    ],
)
def test_the_wrapper_scales_and_accumulates(
    wrapper: dict[str, Any], autocast: str, asked: Loop, expected: Loop
) -> None:
    options = StepOptions(
        optimization=OptimizationSettings(), optimizer="adamw", autocast=autocast, loop=asked
    )
    assert _dialect(**wrapper).options(options).loop == expected


@pytest.mark.parametrize("clip", [None, {"max_norm": 35}])
def test_gradients_are_clipped_where_the_wrapper_does(clip: Any) -> None:
    options = StepOptions(optimization=OptimizationSettings(), optimizer="adamw")
    assert _dialect(clip_grad=clip).options(options).clips is (clip is not None)


def test_the_step_is_that_of_training(values: AssumedValues) -> None:
    batch = _batch(torch.ones(3, 4, 5))
    assert _dialect().loss(_Model(), batch) == 3
    # Every step gets the batch as it was loaded.
    assert list(batch["inputs"]) == ["img"]
    assert not values.open


def test_several_cameras_leave_the_verdict_open(values: AssumedValues) -> None:
    _dialect().loss(_Model(), _batch(torch.ones(6, 3, 4, 5)))
    assert any("several cameras" in sentence for sentence in values.open)


@pytest.mark.parametrize(
    ("module", "expected"), [("mmcv.ops.sparse_conv", True), ("mmcv.ops.deform_conv", False)]
)
def test_a_model_is_sparse_by_its_layers(module: str, expected: bool) -> None:
    layer = type("Convolution", (nn.Module,), {"__module__": module})
    assert is_sparse(nn.Sequential(nn.Linear(1, 1), layer())) is expected


def test_evaluation_is_refused(values: AssumedValues) -> None:
    with pytest.raises(NoVerdictError, match="evaluation has a pipeline of its own"):
        _dialect().predictions(_Model(), _batch())
