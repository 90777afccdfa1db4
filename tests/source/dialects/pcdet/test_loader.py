"""What a repository with a data pipeline of its own is given, and what of it runs."""

from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bevdiag.errors import NoVerdictError
from bevdiag.memory.events import Category
from bevdiag.scenes import Scenario, make_batch
from bevdiag.source import read_source_config, trace_source
from bevdiag.source.dialects.pcdet.cameras import Cameras
from bevdiag.source.dialects.pcdet.frames import Frames, calibration_of
from bevdiag.trace.alternatives import TracedStep

REPOSITORY = Path(__file__).parents[2] / "own_data"
CONFIG = REPOSITORY / "tools" / "cfgs" / "own.yaml"
POINTS = 300
Own = Callable[..., TracedStep]


class _Frames(SimpleNamespace):
    def __len__(self) -> int:
        return 2


_FRAMES: Any = _Frames(
    image_size=(40, 60), calibration=lambda: {"Tr_velo_to_cam": np.eye(4), "P2": np.eye(4)}
)


@pytest.fixture(scope="module")
def own() -> Own:
    settings = read_source_config(CONFIG)
    low, high = np.split(np.array(settings.point_cloud_range), 2)
    random = np.random.default_rng(0)
    samples = [
        np.c_[random.uniform(low, high, (POINTS, 3)), random.random(POINTS)].astype(np.float32)
        for _ in range(2)
    ]
    batch = make_batch(
        samples,
        point_cloud_range=settings.point_cloud_range,
        voxel_size=(0.5, 0.5, 0.5),
        grid_size=(100, 100, 40),
        max_points=None,
        max_voxels=None,
        num_boxes=4,
        num_classes=1,
        seed=0,
        source="test",
    )

    def trace(model: str, *more: str, **options: Any) -> TracedStep:
        overrides = (f"MODEL.NAME={model}", *more)
        scenes = {Scenario.EXPECTED: batch}
        return trace_source(CONFIG, REPOSITORY, scenes=scenes, overrides=overrides, **options)

    return trace


@pytest.fixture(scope="module")
def plain(own: Own) -> TracedStep:
    return own("Plain")


def _inputs(trace: TracedStep) -> dict[str, tuple[int, ...]]:
    return {
        event.op: event.shape
        for event in trace.expected.stream.allocs()
        if event.category is Category.INPUT
    }


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


def test_what_files_would_have_brought_is_said(plain: TracedStep) -> None:
    text = "\n".join(plain.findings)
    assert "gt_sampling was left out" in text
    assert "15 Diver" in text
    assert "augmentation blur was left out: pcdet/datasets/augmentor.py" in text
    assert "did not run" not in text


def test_a_frame_is_not_turned_at_random(own: Own, plain: TracedStep) -> None:
    # Turned by the three radians that the config allows, most points would leave the range.
    assert own("Plain").num_voxels == plain.num_voxels


def test_what_would_move_each_object_is_not_even_called(plain: TracedStep) -> None:
    assert not any("shake" in finding for finding in plain.findings)


def test_the_scene_itself_is_the_batch_where_it_was_measured(own: Own) -> None:
    with pytest.raises(NoVerdictError, match=r"but got \[600, 4\] X \[8, 4\]"):
        own("Plain", "OPTIMIZATION.OPTIMIZER=adamW", loads=False)


def test_cameras_see_the_scene(own: Own) -> None:
    trace = own("Cameras")
    assert len(_inputs(trace)["batch['camera_imgs']"]) == 5
    assert any("'camera_imgs' is synthetic" in finding for finding in trace.findings)


@pytest.mark.parametrize(("more", "cells"), [({"xbound": [-5.0, 5.0, 0.5]}, 20), ({}, 0)])
def test_a_map_has_the_layers_and_cells_that_the_config_draws(
    more: dict[str, Any], cells: int
) -> None:
    step = {"NAME": "draw", "classes": ["lane", "walkway"], "ybound": [-5.0, 5.0, 1.0], **more}
    made = Cameras(_FRAMES, {"DATA_PROCESSOR": [step]}).make("gt_masks_bev")
    assert (None if made is None else tuple(made.shape)) == ((2, 2, 10, cells) if cells else None)


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


def test_a_calibration_that_asks_for_a_storage_client_is_made_without() -> None:
    class Calibration:
        def __init__(self, file: dict[str, Any], client: Any, scale: float = 1.0) -> None:
            self.projection, self.client, self.scale = file["P2"], client, scale

    module = ModuleType("calibration_of_fork")
    module.__dict__["Calibration"] = Calibration
    method = FunctionType(compile("None", "get_calib", "exec"), {"calibration_of_fork": module})
    batch = make_batch(
        [np.zeros((1, 4), np.float32)],
        point_cloud_range=(0, 0, 0, 1, 1, 1),
        voxel_size=(1.0, 1.0, 1.0),
        grid_size=(1, 1, 1),
        max_points=None,
        max_voxels=None,
        num_boxes=1,
        num_classes=1,
        seed=0,
        source="test",
    )
    frames = Frames(batch, named="xyzi", stored="xyzi", columns=4, class_names=("Car",), box_size=7)
    made = calibration_of(method, frames)
    assert made.projection.shape == (3, 4)
    assert (made.client, made.scale) == (None, 1.0)


def test_a_refiner_gets_the_boxes_that_another_run_would_have_kept(own: Own) -> None:
    trace = own("Refining", "DATA_CONFIG.SEQUENCE_CONFIG={SAMPLE_OFFSET: [-2, 0]}")
    assert _inputs(trace)["batch['roi_boxes']"] == (2, 3, 4 * 4, 9)
    assert any("'roi_boxes' is synthetic" in finding for finding in trace.findings)
