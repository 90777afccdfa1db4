from pathlib import Path

import pytest
import torch

from bevdiag.errors import NoVerdictError
from bevdiag.memory.events import Category
from bevdiag.trace.alternatives import TracedStep
from tests.source.dialects.pcdet.own_data import POINTS, Own, _inputs


def test_its_encoder_makes_eight_features_of_four(plain: TracedStep) -> None:
    assert plain.expected.params_by_module["layer"] == 8 * 4 + 4
    assert _inputs(plain)["batch['points']"] == (2 * POINTS, 1 + 8)


def test_what_its_own_loading_copies_to_the_gpu_is_counted_and_nothing_else(
    plain: TracedStep,
) -> None:
    inputs = _inputs(plain)
    assert inputs["batch['halves']"] == (2,)
    assert "batch['image_shape']" not in inputs
    assert not any("load_data_to_gpu" in finding for finding in plain.findings)


def test_its_voxelizer_runs_under_any_name_and_keeps_all_points(plain: TracedStep) -> None:
    voxels, _, features = _inputs(plain)["batch['voxels']"]
    assert features == 8
    assert plain.num_voxels == voxels
    assert 2 * 250 < voxels <= 2 * POINTS
    assert plain.num_points == 2 * POINTS


def test_an_unknown_operation_fills_what_it_is_given(own: Own) -> None:
    trace = own("Twisting")
    noted = [f for f in trace.findings if "TWIST_OP.twist_wrapper (defined in" in f]
    assert len(noted) == 1
    assert "src/twist.cpp:3" in noted[0]
    assert not trace.expected.stream.unmodelled


def test_what_it_writes_into_values_is_not_known(own: Own) -> None:
    trace = own("TwistingLabels")
    assert any(
        "what it writes is not known" in sentence for sentence in trace.expected.stream.unmodelled
    )


def test_what_it_writes_of_features_into_what_its_wrapper_made_is_asked_for(own: Own) -> None:
    trace = own("TwistingBoth")
    assert not any(
        "what it writes is not known" in sentence for sentence in trace.expected.stream.unmodelled
    )
    assert any(":branch" in a.site for a in trace.assumptions) or trace.expected.stream.unmodelled


def test_geometry_in_a_parameter_keeps_its_values(own: Own) -> None:
    assert not own("Geometric").expected.stream.unmodelled


def test_weights_that_are_refused_are_those_that_the_model_has(own: Own) -> None:
    trace = own("Pretrained")
    assert any("weights (pretrained.pth) were neither" in finding for finding in trace.findings)


def test_a_teacher_that_nobody_builds_leaves_the_step_without_an_upper_end(own: Own) -> None:
    trace = own(
        "Choosy",
        "MODEL_TEACHER={NAME: Choosy}",
        "MODEL.HEAD={NAME: Any, ALPHA: 1}",
        "MODEL.LAYERZ={WIDTH: 3}",
    )
    (sentence,) = trace.expected.stream.unmodelled
    assert "nothing read MODEL_TEACHER" in sentence
    assert set(trace.unread) >= {"MODEL_TEACHER", "MODEL.LAYERZ"}
    assert "MODEL.HEAD.ALPHA" not in trace.unread


def test_labels_beside_predictions_have_values(own: Own) -> None:
    trace = own("Assigning")
    assert not trace.expected.stream.unmodelled
    assert not trace.assumptions


def test_an_unknown_operation_that_returns_tensors_stops(own: Own) -> None:
    with pytest.raises(
        NoVerdictError, match=r"twist\.py:\d+: pcdet.ops.twist.TWIST_OP.untwist \(defined in"
    ):
        own("Returning")


def test_an_unknown_operation_allocates_what_its_cpp_does(own: Own) -> None:
    trace = own("Widening")
    assert any("TWIST_OP.widen" in f and "read from its C++" in f for f in trace.findings)
    made = [tuple(event.shape) for event in trace.expected.stream.allocs()]
    (rows,) = {shape[0] for shape in made if shape[1:] == (5,)}
    assert (rows, 8) in made
    assert not trace.expected.stream.unmodelled


def test_layers_of_spconv_itself_are_spconv_1(own: Own) -> None:
    trace = own("FirstGeneration")
    assert any("spconv 1 is assumed" in finding for finding in trace.findings)
    tables = [
        event.nbytes
        for event in trace.expected.stream.allocs()
        if event.category is Category.RULEBOOK
    ]
    assert 2 * 40 * 100 * 100 * 4 in tables


def test_a_table_is_read_where_it_is_and_named_where_not(own: Own, tmp_path: Path) -> None:
    table = tmp_path / "table.pth"
    with pytest.raises(NoVerdictError, match=r"__init__\.py:\d+: .* loads from \S*table\.pth"):
        own("ReadingTable", f"MODEL.TABLE={table}")
    torch.save(torch.arange(6).view(2, 3), table)
    assert own("ReadingTable", f"MODEL.TABLE={table}").findings
