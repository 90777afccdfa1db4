"""A model that comes without a config, beside the same one with it."""

from typing import Any

import pytest
from torch import nn

from bevdiag import sparse
from bevdiag.errors import InputError
from bevdiag.memory.simulate import simulate
from bevdiag.memory.verdict import Verdict
from bevdiag.models.builder import build_detector
from bevdiag.prediction.module import Module
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.predicted import predict
from bevdiag.trace.inputs import meta_batch
from bevdiag.trace.kept_voxels import Scenario


def test_a_detector_that_is_handed_over_peaks_like_the_one_of_its_config(small: Any) -> None:
    source = small.source()
    recorded = source.record()
    config = source.config
    model = build_detector(
        config.model,
        config.data,
        config.class_names,
        spconv=sparse.namespace("cpu"),
        device="cpu",
    )
    for site in recorded.kept_voxels:
        site.apply(model, Scenario.EXPECTED, 1)
    batch = meta_batch(recorded.batch)
    batch["voxel_coords"] = batch["voxel_coords"].int()
    asked = InspectOptions(budget_bytes=2**30, autocast=source.autocast, optimizer=source.optimizer)
    report = predict(Module(model, batch, None, asked))
    stream = recorded.traces[Scenario.EXPECTED].stream
    expected = simulate(stream, source.target(), until_oom=False).peak
    assert report.peak.allocated_bytes == pytest.approx(expected.allocated_bytes, rel=1e-3)
    assert report.peak.module == expected.module
    assert report.verdict is Verdict.FITS


@pytest.mark.parametrize(
    ("options", "run", "said"),
    [
        ({"autocast": "on"}, {}, "autocast='on': take one of off, fp16, bf16"),
        ({"optimizer": "lamb"}, {}, "optimizer='lamb': take one of adam"),
        ({}, {"steps": 1.5}, "steps=1.5: at least 2"),
        ({}, {"keeps_output": "no"}, "keeps_output='no': take one of True, False"),
    ],
)
def test_a_step_that_makes_no_sense(
    options: dict[str, Any], run: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        Module(nn.Linear(2, 2), None, None, InspectOptions(**options), **run)


def test_the_target_is_resolved_as_for_any_step() -> None:
    options = InspectOptions(gpu="a10", process_bytes=8 * 2**30, cudnn="9.1", origin="somewhere")
    target = Module(nn.Linear(2, 2), (), None, options).target()
    assert (target.gpu, target.cudnn, target.origin) == ("a10", (9, 1, 0), "somewhere")
    assert target.capacity_bytes == 8 * 2**30 - target.context_bytes
