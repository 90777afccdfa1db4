"""Each rule fires where it should and keeps quiet where it should not."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bevdiag.memory.device import make_target
from bevdiag.memory.events import Category, Phase
from bevdiag.memory.profile import LiveBlock
from bevdiag.memory.requests import ConvCall
from bevdiag.memory.simulate import simulate
from bevdiag.memory.verdict import Verdict
from bevdiag.rules.budget import budget_depends_on_values, over_budget, within_margin
from bevdiag.rules.checks import step_findings
from bevdiag.rules.finding import Finding, Severity, StepEvidence
from bevdiag.rules.height import densified_volume, height_flatten_blowup
from bevdiag.rules.holders import (
    attention_maps,
    focal_growth,
    padded_voxel_features,
    peak_dominated_by_one_block,
    unbounded_dynamic_voxels,
)
from bevdiag.rules.index_limits import convolution_beyond_32_bit
from bevdiag.rules.traced import (
    parameters_not_optimized,
    parameters_without_gradient,
    scalar_guessed,
    unused_output,
)
from bevdiag.trace.wiring import DeadBranch

from ..streams import Move, make, mark, stream

GIB = 2**30
Rule = Callable[[Any], Iterator[Finding]]


def _found(rule: Rule, evidence: StepEvidence) -> list[Finding]:
    return list(rule(evidence))


def _with_events(evidence: StepEvidence, *moves: Move) -> StepEvidence:
    forward = stream(mark(1), *moves)
    return replace(evidence, trace=replace(evidence.trace, stream=forward))


def _conv(in_channels: int, height: int, width: int, **wanted: Any) -> ConvCall:
    call = ConvCall(
        direction="forward",
        input_shape=(1, in_channels, height, width),
        weight_shape=(128, in_channels, 3, 3),
        output_shape=(1, 128, height - 2, width - 2),
        stride=(1, 1),
        padding=(0, 0),
        dilation=(1, 1),
        groups=1,
        transposed=False,
        element_bytes=4,
        dtype="float32",
    )
    return replace(call, **wanted)


def _workspace(call: ConvCall) -> Move:
    return make(0, "backbone_2d.blocks.0.1", category=Category.WORKSPACE, request=call)


def _convolving(evidence: StepEvidence, call: ConvCall, cudnn: str, times: int = 1) -> StepEvidence:
    changed = _with_events(evidence, *times * [_workspace(call)])
    return replace(changed, target=make_target(torch="2.11.0", gpu="h200", cudnn=cudnn))


HUGE, SMALL = _conv(22_400, 202, 502), _conv(128, 202, 502)


def test_a_sound_run_gives_no_finding(evidence: StepEvidence) -> None:
    calm = replace(
        evidence,
        kept_voxels=(replace(evidence.kept_voxels[0], high=evidence.batch.num_voxels),),
    )
    assert [finding.code for finding in step_findings(calm)] == []


# -- BEV203 and BEV403 --------------------------------------------------------------------------


def _flattened(evidence: StepEvidence, depth: int) -> StepEvidence:
    map_input = replace(evidence.map_input, channels=128, depth=depth, height=200, width=500)
    return replace(evidence, map_input=replace(map_input, flattens=True, real=128 * depth))


def test_flattening_beyond_32_bits_teaches_where_the_buffer_comes_from(
    evidence: StepEvidence,
) -> None:
    over = _flattened(_convolving(evidence, HUGE, "9.1"), 175)
    (finding,) = _found(height_flatten_blowup, over)
    assert (finding.code, finding.severity) == ("BEV203", Severity.ERROR)
    assert "22400 channels: 128 x 175 height levels" in finding.message
    lesson = " ".join(finding.detail)
    for fact in ("25,804,800 weights", "2,271,449,600 elements", "2,147,483,647", "75.10 GiB"):
        assert fact in lesson


def test_flattening_with_a_cudnn_that_takes_it_tells_what_it_asks_instead(
    evidence: StepEvidence,
) -> None:
    over = _flattened(_convolving(evidence, HUGE, "9.19"), 175)
    (finding,) = _found(height_flatten_blowup, over)
    assert any("cuDNN 9.19.0 takes the convolution" in line for line in finding.detail)


def test_flattening_that_is_merely_expensive_is_a_warning(evidence: StepEvidence) -> None:
    over = _flattened(_convolving(evidence, _conv(1280, 202, 502), "9.1"), 10)
    (finding,) = _found(height_flatten_blowup, over)
    assert finding.severity is Severity.WARNING
    assert not any("32 bits" in line for line in finding.detail)


@pytest.mark.parametrize("depth", [1, 8])
def test_flattening_to_a_thousand_channels_is_common(evidence: StepEvidence, depth: int) -> None:
    assert _found(height_flatten_blowup, _flattened(evidence, depth)) == []


def test_a_reduction_flattens_nothing(evidence: StepEvidence) -> None:
    map_input = replace(evidence.map_input, channels=128, depth=175, flattens=False)
    assert _found(height_flatten_blowup, replace(evidence, map_input=map_input)) == []


def test_cudnn_is_bypassed(evidence: StepEvidence) -> None:
    (finding,) = _found(convolution_beyond_32_bit, _convolving(evidence, HUGE, "9.1"))
    assert finding.code == "BEV403"
    assert finding.module == "backbone_2d.blocks.0.1"
    assert "2,271,449,600 elements" in finding.message
    assert "75.10 GiB" in finding.message


@pytest.mark.parametrize(("call", "cudnn"), [(HUGE, "9.3"), (HUGE, "9.19"), (SMALL, "9.1")])
def test_cudnn_is_not_bypassed(evidence: StepEvidence, call: ConvCall, cudnn: str) -> None:
    assert _found(convolution_beyond_32_bit, _convolving(evidence, call, cudnn)) == []


def test_one_module_is_named_once(evidence: StepEvidence) -> None:
    twice = _convolving(evidence, HUGE, "9.1", times=2)
    assert len(_found(convolution_beyond_32_bit, twice)) == 1


# -- BEV301 and BEV302 --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "code"),
    [(Verdict.OVER, "BEV301"), (Verdict.DEPENDS, "BEV302"), (Verdict.FITS, None)],
)
def test_a_budget(evidence: StepEvidence, verdict: Verdict, code: str | None) -> None:
    target = make_target(torch="2.11.0", gpu="h200", budget_bytes=22 * GIB)
    judged = replace(evidence, target=target, verdict=verdict)
    found = _found(over_budget, judged) + _found(budget_depends_on_values, judged)
    assert [finding.code for finding in found] == ([code] if code else [])
    for finding in found:
        assert "22.00 GiB" in finding.message


def test_figures_that_differ_do_not_read_alike(evidence: StepEvidence) -> None:
    reserved = evidence.profile.max_reserved_bytes
    target = replace(evidence.target, capacity_bytes=reserved - 2**20)
    (finding,) = _found(over_budget, replace(evidence, target=target, verdict=Verdict.OVER))
    _, _, _, taken, _, _, usable, *_ = finding.message.split()
    assert float(usable) < float(taken)


def test_no_budget(evidence: StepEvidence) -> None:
    assert _found(over_budget, replace(evidence, verdict=Verdict.OVER)) == []
    assert _found(budget_depends_on_values, replace(evidence, verdict=Verdict.DEPENDS)) == []


# -- BEV304 -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "fires"), [(0.41, True), (0.39, False)])
def test_a_peak_of_one_block(evidence: StepEvidence, share: float, fires: bool) -> None:
    total = evidence.profile.peak.allocated_bytes
    block = LiveBlock(stream(make(0, "vfe")).alloc(0), int(share * total))
    found = _found(
        peak_dominated_by_one_block,
        replace(evidence, profile=replace(evidence.profile, holders=(block,))),
    )
    assert [f.code for f in found] == ["BEV304"] * fires
    assert all("41%" in f.message and f.module == "vfe" for f in found)


def test_a_peak_of_nothing(evidence: StepEvidence) -> None:
    empty = simulate(stream(), evidence.target)
    assert _found(peak_dominated_by_one_block, replace(evidence, profile=empty)) == []


# -- BEV305 -------------------------------------------------------------------------------------


def _padded(evidence: StepEvidence, saved_bytes: int, points_each: int) -> StepEvidence:
    moves = (make(saved_bytes, "vfe.layers.0"), mark(1, Phase.BACKWARD))
    assert evidence.batch.voxels is not None
    (sample,) = evidence.batch.voxels
    full = replace(sample, num_points=np.full_like(sample.num_points, points_each))
    return replace(_with_events(evidence, *moves), batch=replace(evidence.batch, voxels=(full,)))


@pytest.mark.parametrize(
    ("saved_bytes", "points_each", "fires"),
    [(2 * GIB, 1, True), (2 * GIB, 8, False), (GIB // 2, 1, False), (3 * GIB // 2, 4, False)],
)
def test_padding(evidence: StepEvidence, saved_bytes: int, points_each: int, fires: bool) -> None:
    found = _found(padded_voxel_features, _padded(evidence, saved_bytes, points_each))
    assert [f.code for f in found] == ["BEV305"] * fires
    for finding in found:
        assert "2.00 GiB" in finding.message
        assert "87.5% of it padding: 8 slots" in finding.message


def test_no_padding_where_the_model_voxelizes(evidence: StepEvidence) -> None:
    padded = _padded(evidence, 2 * GIB, 1)
    dynamic = replace(padded, batch=replace(padded.batch, voxels=None))
    assert _found(padded_voxel_features, dynamic) == []


# -- BEV306 -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "nbytes", "fires"),
    [
        ((1, 128, 10, 20, 40), 2 * GIB, True),
        ((1, 10, 20, 40, 128), 2 * GIB, True),
        ((1, 128, 10, 20, 40), GIB - 1, False),
        ((1, 64, 10, 20, 40), 2 * GIB, False),
        ((1, 1280, 20, 40), 2 * GIB, False),
    ],
)
def test_a_dense_volume(
    evidence: StepEvidence, shape: tuple[int, ...], nbytes: int, fires: bool
) -> None:
    volume = make(nbytes, "map_to_bev_module", shape=shape)
    found = _found(densified_volume, _with_events(evidence, volume, volume))
    assert [f.code for f in found] == ["BEV306"] * fires
    for finding in found:
        assert "2.00 GiB, held 2 times at once" in finding.message
        assert f"{900 / 8000:.1%} of occupied cells" in finding.message


def test_what_focal_modules_before_other_layers_keep_is_not_the_volumes(
    evidence: StepEvidence,
) -> None:
    model = evidence.config.model.model_copy(update={"backbone_3d": None})
    config = replace(evidence.config, model=model)
    volume = make(2 * GIB, "map_to_bev_module", shape=(1, 128, 10, 20, 40))
    elsewhere = replace(_with_events(evidence, volume), config=config)
    (finding,) = _found(densified_volume, elsewhere)
    assert "occupied" not in finding.message


# -- BEV303 and BEV309 --------------------------------------------------------------------------


def test_sampled_points_bound_the_voxels(evidence: StepEvidence) -> None:
    data = evidence.config.data.model_copy(update={"max_voxels": None})
    dynamic = replace(evidence, config=replace(evidence.config, data=data))
    assert [f.code for f in _found(unbounded_dynamic_voxels, dynamic)] == ["BEV303"]
    key = ("DATA_CONFIG", "DATA_PROCESSOR", "sample_points")
    steps = dynamic.document.get("DATA_CONFIG.DATA_PROCESSOR")
    sampled = (*steps, {"NAME": "sample_points", "NUM_POINTS": {"train": 9, "test": 9}})
    document = dynamic.document.edited({key[:2]: sampled})
    assert _found(unbounded_dynamic_voxels, replace(dynamic, document=document)) == []


def _held(evidence: StepEvidence, op: str, shape: tuple[int, ...]) -> StepEvidence:
    (block, *_) = evidence.profile.holders
    block = block._replace(nbytes=2 * GIB, alloc=block.alloc._replace(op=op, shape=shape))
    return replace(evidence, profile=replace(evidence.profile, holders=(block,)))


def test_attention_maps_are_counted_over_samples_and_heads(evidence: StepEvidence) -> None:
    (finding,) = _found(attention_maps, _held(evidence, "aten._softmax.default", (2, 8, 36, 36)))
    assert "16 matrices of 36 x 36" in finding.message


def test_the_loss_of_a_map_of_classes_is_no_attention(evidence: StepEvidence) -> None:
    loss = _held(evidence, "aten._log_softmax.default", (2, 20, 900, 900))
    assert _found(attention_maps, loss) == []


# -- BEV307 -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("factor", "fires"), [(2, False), (3, True)])
def test_focal_growth(evidence: StepEvidence, factor: int, fires: bool) -> None:
    incoming = evidence.batch.num_voxels
    kept = replace(evidence.kept_voxels[0], low=incoming, high=factor * incoming)
    found = _found(focal_growth, replace(evidence, kept_voxels=(kept,)))
    assert [f.code for f in found] == ["BEV307"] * fires
    for finding in found:
        assert "1.0 to 3.0 times" in finding.message
        assert finding.module == "backbone_3d.focal_encoder"
        assert any("--assume backbone_3d.focal_encoder.kept_voxels" in d for d in finding.detail)


# -- BEV601 and BEV602 --------------------------------------------------------------------------


def _with_dead(evidence: StepEvidence, path: str, params: int) -> StepEvidence:
    branch = DeadBranch(path=path, params=params, leads_to=(), reason="it never runs in training")
    trace = replace(
        evidence.trace,
        params_without_grad={f"{path}.weight": params, "other.bias": 3},
        params_by_module={"total": 23},
        wiring=replace(evidence.trace.wiring, dead_branches=(branch,)),
    )
    return replace(evidence, trace=trace)


def test_a_dead_branch_is_named_with_its_share(evidence: StepEvidence) -> None:
    (finding,) = _found(parameters_without_gradient, _with_dead(evidence, "a", 17))
    assert (finding.code, finding.module) == ("BEV601", "a")
    assert "17 parameters get no gradient: it never runs in training" in finding.message
    assert finding.detail == ("In all, 20 of 23 parameters get no gradient.",)


@pytest.mark.parametrize(
    ("module", "key", "lesson"),
    [
        ("backbone_3d.dsvt", "MODEL.MAP_TO_BEV.INPUT", "INPUT: dsvt lets"),
        (
            "backbone_3d.focal_encoder.conv_imp",
            "MODEL.BACKBONE_3D.FOCAL_ENCODER.LOSS_CONFIG",
            "threshold",
        ),
    ],
)
def test_a_branch_that_the_config_decides_about_points_there(
    evidence: StepEvidence, module: str, key: str, lesson: str
) -> None:
    (finding,) = _found(parameters_without_gradient, _with_dead(evidence, module, 9))
    assert finding.key == key
    assert lesson in finding.detail[0]


def test_a_module_without_parameters_that_no_loss_uses(evidence: StepEvidence) -> None:
    assert _found(unused_output, evidence) == []
    trace = replace(_with_dead(evidence, "a.pool", 0).trace, departures={"a.pool": 1})
    (finding,) = _found(unused_output, replace(evidence, trace=trace))
    assert (finding.code, finding.module) == ("BEV604", "a.pool")
    assert "a.pool computes what no loss uses" in finding.message
    listed = replace(trace, departures={"a.pool.0": 1})  # a list of modules never runs itself
    assert _found(unused_output, replace(evidence, trace=listed)) == []


def test_parameters_that_are_never_updated(evidence: StepEvidence) -> None:
    trace = replace(evidence.trace, params_not_optimized={"a.b.in_proj": 1000, "c.in_proj": 24})
    reported = replace(evidence, trace=trace, optimizer="adam_onecycle")
    (finding,) = _found(parameters_not_optimized, reported)
    assert (finding.code, finding.module) == ("BEV602", "a.b")
    assert "1,024 parameters in 2 tensors" in finding.message
    assert "adam_onecycle" in finding.message


def test_an_optimizer_that_was_not_given_parameters_is_not_said_to_collect_leaves(
    evidence: StepEvidence,
) -> None:
    trace = replace(evidence.trace, params_not_optimized={"a.b.weight": 1000})
    (finding,) = _found(parameters_not_optimized, replace(evidence, trace=trace, optimizer="AdamW"))
    assert "the optimizer was not given a.b.weight" in finding.message
    assert "leaf" not in finding.message


def test_parameters_that_are_all_updated(evidence: StepEvidence) -> None:
    assert _found(parameters_not_optimized, evidence) == []


def test_what_is_left_may_be_less_than_is_assumed(evidence: StepEvidence) -> None:
    high = evidence.high
    target = replace(
        make_target(torch="2.11.0", budget_bytes=high.max_reserved_bytes + 2**20),
        gpu="toy",
        doubt_bytes=2**22,
    )
    unclear = replace(evidence, target=target, verdict=Verdict.DEPENDS)
    (finding,) = _found(within_margin, unclear)
    assert "1024.00 KiB of toy are left" in finding.message
    assert "4.00 MiB less than assumed" in finding.message
    assert _found(budget_depends_on_values, unclear) == []
    known = replace(unclear, target=replace(target, doubt_bytes=0))
    assert _found(within_margin, known) == []
    assert _found(budget_depends_on_values, known)


# -- notes --------------------------------------------------------------------------------------


def test_scalars_that_were_guessed(evidence: StepEvidence) -> None:
    assert _found(scalar_guessed, evidence) == []
    trace = replace(evidence.trace, notes=("vfe: a scalar was read",))
    (finding,) = _found(scalar_guessed, replace(evidence, trace=trace))
    assert (finding.code, finding.message) == ("BEV901", "vfe: a scalar was read")
