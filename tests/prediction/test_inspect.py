import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bevdiag.errors import BevdiagError, ExitCode, InputError
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.inspect import inspect
from bevdiag.prediction.result import ConfigReport, Prediction
from bevdiag.report.as_json import as_json
from bevdiag.report.json_schema import json_schema
from bevdiag.rules.finding import Severity


def _codes(report: Prediction) -> list[str]:
    return [finding.code for finding in report.findings]


@pytest.fixture(scope="module")
def ranged(small: Any) -> Prediction:
    """With the count left open."""
    report: Prediction = small.report(pinned=False)
    return report


# -- consistency ---------------------------------------------------------------------------------


def test_the_peak_is_the_sum_of_its_categories_and_holders(ranged: Prediction) -> None:
    peak = ranged.peak
    assert sum(peak.by_category.values()) == peak.allocated_bytes
    assert 0 < sum(holder.nbytes for holder in peak.holders) <= peak.allocated_bytes
    assert list(peak.holders) == sorted(peak.holders, key=lambda h: -h.nbytes)


def test_the_range_holds_the_expected_peak(ranged: Prediction) -> None:
    peak = ranged.peak
    assert peak.low_bytes < peak.allocated_bytes < peak.high_bytes
    assert peak.allocated_bytes <= peak.reserved_bytes <= peak.high_reserved_bytes
    (assumption,) = ranged.assumptions
    assert assumption.low <= assumption.expected <= assumption.high
    assert assumption.used == assumption.expected


def test_the_peak_is_that_of_a_phase_and_of_the_timeline(ranged: Prediction) -> None:
    phases = ranged.phases
    assert list(phases) == ["forward", "backward", "optimizer"]
    assert phases[ranged.peak.phase].peak_allocated_bytes == ranged.peak.allocated_bytes
    assert max(p.peak_allocated_bytes for p in phases.values()) == ranged.peak.allocated_bytes
    assert max(point.allocated_bytes for point in ranged.timeline) == ranged.peak.allocated_bytes
    assert all(point.allocated_bytes <= point.reserved_bytes for point in ranged.timeline)


def test_layers_add_up(ranged: Prediction) -> None:
    layers = {layer.name: layer for layer in ranged.layers}
    for layer in ranged.layers:
        children = [
            other
            for other in ranged.layers
            if other.name.startswith(f"{layer.name}.") and other.depth == layer.depth + 1
        ]
        assert layer.has_children == bool(children)
        assert layer.saved_bytes >= sum(child.saved_bytes for child in children)
        assert layer.params >= sum(child.params for child in children)
        assert layer.peak_bytes >= max((child.peak_bytes for child in children), default=0)
        assert layer.peak_bytes <= ranged.peak.allocated_bytes
    assert max(layer.peak_bytes for layer in ranged.layers) == ranged.peak.allocated_bytes
    assert layers[ranged.peak.module].peak_bytes == ranged.peak.allocated_bytes


def test_layers_know_their_channels_and_shapes(ranged: Prediction) -> None:
    layers = {layer.name: layer for layer in ranged.layers}
    first = layers["backbone_2d.blocks.0.1"]
    assert (first.type, first.in_channels, first.out_channels) == ("Conv2d", 1280, 16)
    assert first.output_shape == (1, 16, 20, 40)
    assert first.params == 1280 * 16 * 9
    assert first.workspace_bytes > 0
    assert layers["dense_head.shared_conv"].output_shape == (1, 64, 20, 40)


def test_parameters_are_counted(ranged: Prediction) -> None:
    assert sum(ranged.params.modules.values()) == ranged.params.total == 1_125_962
    assert ranged.params.without_grad == 46_656  # the importance convolution
    assert ranged.bev_channels == 1280


def test_the_first_step_has_no_optimizer_state_yet(ranged: Prediction) -> None:
    assert 0 < ranged.first_step.peak_allocated_bytes < ranged.peak.allocated_bytes


def test_without_a_budget_there_is_no_verdict_but_one_a_gpu(ranged: Prediction) -> None:
    assert ranged.verdict is Verdict.NO_BUDGET
    assert ranged.exit_code is ExitCode.FITS
    assert ranged.oom is None
    assert {gpu.verdict for gpu in ranged.gpus} == {Verdict.FITS}
    assert [gpu.gpu for gpu in ranged.gpus] == ["rtx3080-10gb", "a100-80gb", "h200"]


# -- determinism ---------------------------------------------------------------------------------


def test_two_runs_give_the_same_bytes(small: Any, ranged: Prediction) -> None:
    again = inspect(small.config, small.options(pinned=False), small.progress)
    assert as_json(again) == as_json(ranged)


def test_another_seed_decides_otherwise(small: Any) -> None:
    # Unshuffled: the seed would order the points too.
    first, second = (small.source(pinned=False, seed=seed, in_file_order=True) for seed in (0, 17))
    assert (first.batch().points == second.batch().points).all()
    assert first.input()[1][0].why != second.input()[1][0].why


def test_a_pinned_count_is_taken_for_all_three(small: Any) -> None:
    (assumption,) = small.report().assumptions
    assert {assumption.low, assumption.expected, assumption.high} == {small.kept}


# -- verdicts ------------------------------------------------------------------------------------


def test_a_budget_that_the_upper_end_fits(small: Any) -> None:
    budget = small.report().peak.high_reserved_bytes
    report = small.report(budget_bytes=budget)
    assert report.verdict is Verdict.FITS
    assert report.exit_code is ExitCode.FITS
    assert report.oom is None
    assert report.target.capacity_bytes == budget


def test_a_budget_that_only_the_expected_run_fits(small: Any, ranged: Prediction) -> None:
    report = small.report(pinned=False, budget_bytes=ranged.peak.reserved_bytes)
    assert report.verdict is Verdict.DEPENDS
    assert "BEV302" in _codes(report)
    assert report.exit_code is ExitCode.NO_VERDICT
    assert report.oom is not None  # that of the upper end


def test_a_budget_below_the_step(small: Any) -> None:
    report = small.report(budget_bytes=90 * 2**20)
    assert report.verdict is Verdict.OVER
    assert report.exit_code is ExitCode.FINDINGS
    assert "BEV301" in _codes(report)
    oom = report.oom
    assert oom is not None
    assert oom.module in {"", *(layer.name for layer in report.layers)}
    assert oom.message.startswith("CUDA out of memory. Tried to allocate ")
    assert 0 < oom.requested_bytes <= 90 * 2**20
    assert (
        report.peak.allocated_bytes > 90 * 2**20
    )  # the peak is reported of the whole step all the same


# -- findings of whole configs ------------------------------------------------------------------


def test_channels_that_are_not_declared_are_a_finding_no_crash(small: Any, tmp_path: Path) -> None:
    config = tmp_path / "declared.yaml"
    text = small.config.read_text(encoding="utf-8")
    config.write_text(text.replace("NUM_BEV_FEATURES: 1280", "NUM_BEV_FEATURES: 128"))
    report = inspect(config, small.options(), small.progress)
    finding = next(f for f in report.findings if f.code == "BEV201")
    assert finding.severity is Severity.ERROR
    assert "declares 128 BEV channels, but 1280 arrive" in finding.message
    assert finding.module == "map_to_bev_module"
    assert report.exit_code is ExitCode.FINDINGS
    # It points at the key.
    lines = config.read_text(encoding="utf-8").splitlines()
    assert finding.location is not None
    assert finding.location.file == config
    assert "NUM_BEV_FEATURES: 128" in lines[finding.location.line - 1]
    # All figures are those of the config with the channels that arrive.
    assert report.peak == small.report().peak
    assert report.params.total == small.report().params.total


def test_an_encoder_that_is_read_leaves_dsvt_without_gradient(small: Any) -> None:
    report = small.report(overrides=("MODEL.MAP_TO_BEV.INPUT=encoder",))
    dead = [f for f in report.findings if f.code == "BEV601"]
    assert {f.module for f in dead} == {
        "backbone_3d.dsvt",
        "backbone_3d.focal_encoder.conv_imp",
    }
    dsvt = next(layer for layer in report.layers if layer.name == "backbone_3d.dsvt")
    assert report.params.without_grad == 46_656 + dsvt.params


# -- configs that cannot run ---------------------------------------------------------------------


def _stopping_codes(report: Any) -> list[str]:
    assert isinstance(report, ConfigReport)
    assert report.exit_code is ExitCode.FINDINGS
    return [finding.code for finding in report.findings]


def test_what_settings_refuse_is_reported_with_code_and_place(small: Any) -> None:
    report = small.report(
        overrides=(
            "MODEL.VFE.NAME=SDAVEF",
            "MODEL.BACKBONE_3D.DSVT.INPUT_LAYER.downsample_stride=[1, 2, 4]",
        )
    )
    assert _stopping_codes(report) == ["BEV008", "BEV105"]
    assert all(str(finding.location).startswith("--set:") for finding in report.findings)


def test_what_would_fail_while_building_is_reported_with_code_and_place(small: Any) -> None:
    report = small.report(overrides=("MODEL.BACKBONE_2D.UPSAMPLE_STRIDES=[1, 4]",))
    assert _stopping_codes(report) == ["BEV103"]


def test_a_refusal_that_no_rule_explains_stays_one_sentence(small: Any) -> None:
    with pytest.raises(BevdiagError, match="expected a whole number"):
        small.report(overrides=("MODEL.DENSE_HEAD.NUM_HM_CONV=two", "MODEL.VFE.USE_NROM=true"))


# -- options -------------------------------------------------------------------------------------


def test_batch_size_autocast_optimizer_and_compression_are_taken(small: Any) -> None:
    report = small.report(
        batch_size=2, autocast="bf16", optimizer="sgd", compression="sparse_max", cudnn="9.1"
    )
    assert report.scene.batch_size == 2
    assert report.autocast == "bf16"
    assert report.optimizer == "sgd"
    assert report.bev_channels == 128
    assert report.target.cudnn == (9, 1, 0)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"gpu": "rtx9999"}, "rtx9999"),
        ({"cudnn": "nine"}, "nine"),
        ({"compression": "squash"}, "choose from none, max"),
        ({"points": ("nowhere.npy",)}, "nowhere.npy"),
        ({"pins": {"backbone_3d.keeps": 3}}, "no such site"),
        ({"pins": {"backbone_3d.focal_encoder.kept_voxels": 10**9}}, "--assume"),
        ({"overrides": ("MODEL.VFE.USE_NORM=7",)}, "expected true or false, found 7"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    small: Any, wanted: dict[str, Any], message: str
) -> None:
    with pytest.raises(BevdiagError, match=message) as caught:
        inspect(small.config, small.options(**wanted), small.progress)
    assert caught.value.exit_code is ExitCode.USAGE
    assert "\n" not in str(caught.value)


def test_a_measurement_needs_a_gpu(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match="use --device meta"):
        inspect(small.config, small.options(device="cuda"), small.progress)


def test_device_auto_is_meta_without_a_gpu(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert not small.source(device="auto").uses_cuda()
    assert not small.source(device="meta").uses_cuda()


def test_the_document_of_a_traced_step_holds_its_schema(ranged: Prediction) -> None:
    jsonschema.validate(json.loads(as_json(ranged)), json.loads(json_schema("inspect/2")))
