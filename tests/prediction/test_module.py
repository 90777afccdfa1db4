"""A model that comes without a config, beside the same one with it."""

from typing import Any

import pytest

from bevdiag import sparse
from bevdiag.errors import InputError
from bevdiag.memory.simulate import simulate
from bevdiag.memory.verdict import Verdict
from bevdiag.models.builder import build_detector
from bevdiag.prediction.module import ModelBudget, Module, require_budget
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
    asked = ModelBudget(budget_bytes=2**30, autocast=source.autocast, optimizer=source.optimizer)
    report = predict(Module(model, batch, None, asked))
    stream = recorded.traces[Scenario.EXPECTED].stream
    expected = simulate(stream, source.target(), until_oom=False).peak
    assert report.peak.allocated_bytes == pytest.approx(expected.allocated_bytes, rel=1e-3)
    assert report.peak.module == expected.module
    assert report.verdict is Verdict.FITS


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"gpu": "h200", "autocast": "on"}, "autocast='on': take one of off, fp16, bf16"),
        ({"gpu": "h200", "optimizer": "lamb"}, "optimizer='lamb': take one of adam"),
        ({"gpu": "h200", "steps": 1.5}, "steps=1.5: at least 2"),
    ],
)
def test_a_budget_that_makes_no_sense(wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ModelBudget(**wanted)


def test_a_budget_must_name_what_the_step_has_to_fit() -> None:
    with pytest.raises(InputError, match="say what the step must fit"):
        require_budget(ModelBudget())
