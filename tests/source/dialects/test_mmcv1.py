"""mmcv 1.x's conventions, on a repository of this test that keeps to them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bevdiag.config.model_settings import OptimizationSettings
from bevdiag.errors import InputError, NoVerdictError
from bevdiag.memory.events import Category, Phase
from bevdiag.memory.loop import Loop
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.repository import Repository
from bevdiag.prediction.step_source import Recorded
from bevdiag.scenes.scenario import Scenario
from bevdiag.source.dialects import dialect_of
from bevdiag.source.dialects.mmcv1 import infos
from bevdiag.source.dialects.mmcv1.dialect import Mmcv1, is_image, is_of_mmcv
from bevdiag.source.dialects.mmcv1.infos import _quaternion
from bevdiag.source.dialects.mmengine.dialect import MMEngine
from bevdiag.source.dialects.mmengine.frames import Rig
from bevdiag.source.saved_batch import SavedBatch
from bevdiag.source.stubs.small_packages import EasyDict
from bevdiag.trace.step import StepOptions

ROOT = Path(__file__).parents[1] / "mmcv1_repo"
CONFIG = ROOT / "configs" / "toy.py"
FRAMES, CAMERAS = 3, 6


def _record(**options: Any) -> Recorded:
    given = InspectOptions(source=str(ROOT), rehearses=False, **options)
    return Repository.read(CONFIG, given).record((Scenario.EXPECTED,))


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return _record()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("data = dict(train=dict())", Mmcv1),
        ("_base_ = ['./base.py']\nmodel = dict()", Mmcv1),
        ("train_dataloader = dict()", MMEngine),
        ("_base_ = './base.py'\ntrain_dataloader = dict()", MMEngine),
        ("model = dict()", MMEngine),
    ],
)
def test_the_names_that_a_config_sets_say_whose_it_is(
    tmp_path: Path, config: str, expected: type
) -> None:
    (tmp_path / "base.py").write_text("data = dict()\nraise SystemExit", encoding="utf-8")
    (tmp_path / "a.py").write_text(config, encoding="utf-8")
    assert type(dialect_of(tmp_path, tmp_path / "a.py", ())) is expected


def test_a_base_that_is_its_own_base_ends(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("_base_ = ['a.py', 'none.py']", encoding="utf-8")
    assert not is_of_mmcv(tmp_path / "a.py")


def test_a_config_says_what_its_scene_and_step_are() -> None:
    source = Repository.read(CONFIG, InspectOptions(source=str(ROOT), rehearses=False))
    settings = source.settings
    assert (source.batch_size, source.optimizer) == (2, "sgd")
    assert settings.class_names == ("car", "pedestrian")
    assert settings.point_features == ("x", "y", "z", "intensity")
    assert settings.point_cloud_range == (-8, -8, -3, 8, 8, 1)
    assert settings.half_precision == (("fp16", "loss_scale"), 512.0)


def test_the_data_sets_own_queue_of_frames_makes_the_batch(recorded: Recorded) -> None:
    images = (2, FRAMES, CAMERAS, 3, 32, 48)
    stream = recorded.traces[Scenario.EXPECTED].stream
    moved = [event for event in stream.allocs() if event.shape == images]
    assert {event.step for event in moved} >= {1, 2}, "each step moves the batch anew"
    assert any("ObjectSample was left out" in note for note in recorded.notes)
    assert not any("did not" in note for note in recorded.notes)


def test_points_become_voxels_as_the_old_extension_makes_them(recorded: Recorded) -> None:
    stream = recorded.traces[Scenario.EXPECTED].stream
    indices = [event for event in stream.allocs() if event.step == 2 and event.shape[1:] == (3,)]
    # The voxels' coordinates of both samples, and those of their points that the C++ makes.
    assert sum(event.shape[0] == 50 for event in indices) == 2
    assert len(indices) == 4


def test_what_init_weights_freezes_has_no_gradient(recorded: Recorded) -> None:
    stream = recorded.traces[Scenario.EXPECTED].stream
    gradients = stream.where(category=Category.GRADIENT, step=2)
    shapes = [
        event.shape for event, is_one in zip(stream.allocs(), gradients, strict=True) if is_one
    ]
    assert sorted(shapes) == [(1, 4), (4,), (4, 3, 3, 3)]
    assert any("weights (not/there.pth) were not loaded" in note for note in recorded.notes)


def test_gradients_stay_until_the_next_forward_pass_is_over(recorded: Recorded) -> None:
    stream = recorded.traces[Scenario.EXPECTED].stream
    gradients = stream.where(category=Category.GRADIENT, step=2)
    assert gradients.any()
    (forward,) = (s for s in stream.sections() if (s.step, s.phase) == (3, Phase.FORWARD))
    assert (stream.freed[gradients] > forward.start).all()
    assert (stream.freed[gradients] < forward.stop).all()


def test_a_hook_that_adds_up_frees_them_after_the_update() -> None:
    hook = "optimizer_config.type=GradientCumulativeOptimizerHook"
    stream = _record(overrides=(hook,)).traces[Scenario.EXPECTED].stream
    gradients = stream.where(category=Category.GRADIENT, step=2)
    (forward,) = (s for s in stream.sections() if (s.step, s.phase) == (3, Phase.FORWARD))
    assert (stream.freed[gradients] <= forward.start).all()


def test_half_precision_is_where_the_code_marks_it() -> None:
    stream = _record(overrides=("fp16={'loss_scale': 512.0}",)).traces[Scenario.EXPECTED].stream
    widths = {
        event.op: event.dtype for event in stream.allocs() if event.step == 2 and len(event.shape)
    }
    assert widths["aten.convolution.default"] == "float16"
    assert widths["aten.addmm.default"] == "float32", "no mark around the head"


def test_no_verdict_stands_of_a_model_with_cameras(recorded: Recorded) -> None:
    assert any(
        "models that look through cameras, under mmcv 1.x: no prediction" in sentence
        for sentence in recorded.traces[Scenario.EXPECTED].stream.unmodelled
    )


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((6, 3, 32, 48), True), ((2, 6, 3, 256, 704), True), ((2, 6, 3, 3), False), ((9, 4), False)],
)
def test_images_have_three_channels_and_sides(shape: tuple[int, ...], expected: bool) -> None:
    assert is_image({"img_inputs": [torch.empty(shape, device="meta")]}) is expected


def test_a_data_set_that_takes_each_fourth_frame_has_them_all(recorded: Recorded) -> None:
    thinned = _record(overrides=("data.train.load_interval=4",)).traces[Scenario.EXPECTED].stream
    stream = recorded.traces[Scenario.EXPECTED].stream
    assert thinned.nbytes.sum() == stream.nbytes.sum()


def test_a_data_set_without_samples_of_ours_is_refused() -> None:
    with pytest.raises(NoVerdictError, match="Rooms reads files of a data set that bevdiag makes"):
        _record(overrides=("data.train.type=Rooms",))


def test_a_plugins_data_set_may_be_in_the_other_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"mmdet3d.datasets": {"Own": int}, "mmdet.datasets": {"Own": str, "Plugged": float}}
    monkeypatch.setattr(infos, "required", lambda name: SimpleNamespace(DATASETS=kinds[name]))
    found = [infos.class_of({"type": name}) for name in ("Own", "Plugged")]
    assert found == [int, float]


def _dialect(**config: Any) -> Mmcv1:
    dialect = Mmcv1(ROOT, CONFIG, ())
    dialect._config = EasyDict(config)
    return dialect


@pytest.mark.parametrize(
    ("hook", "autocast", "asked", "expected"),
    [
        ({}, "off", Loop(), Loop()),
        ({}, "fp16", Loop(), Loop(scaler=True)),
        ({}, "bf16", Loop(), Loop()),
        ({"cumulative_iters": 4}, "off", Loop(), Loop(accumulate=4)),
        ({"cumulative_iters": 4}, "off", Loop(accumulate=2), Loop(accumulate=2)),
    ],
)
def test_the_hook_scales_and_accumulates(
    hook: dict[str, Any], autocast: str, asked: Loop, expected: Loop
) -> None:
    options = StepOptions(
        optimization=OptimizationSettings(), optimizer="adamw", autocast=autocast, loop=asked
    )
    assert _dialect(optimizer_config=hook).options(options).loop == expected


@pytest.mark.parametrize("hook", [None, {"grad_clip": None}, {"grad_clip": {"max_norm": 35}}])
def test_gradients_are_clipped_where_the_hook_does(hook: dict[str, Any] | None) -> None:
    options = StepOptions(optimization=OptimizationSettings(), optimizer="adamw")
    clips = _dialect(optimizer_config=hook).options(options).clips
    assert clips is bool((hook or {}).get("grad_clip"))


def test_what_the_hook_does_not_do_is_refused() -> None:
    options = StepOptions(
        optimization=OptimizationSettings(), optimizer="adamw", loop=Loop(accumulate=2)
    )
    with pytest.raises(InputError, match="the config's hook updates after each batch"):
        _dialect(optimizer_config={}).options(options)
    saved: Any = SavedBatch(Path("batch.pt"), {})
    with pytest.raises(InputError, match=r"a batch of mmcv 1\.x holds objects"):
        _dialect().supply(saved, [], loads=True)
    with pytest.raises(NoVerdictError, match=r"no data set to train on \(data\.train\)"):
        _dialect().described(EasyDict({"model": {}, "data": {}}))


def test_a_camera_is_turned_as_its_quaternion_says() -> None:
    rig = Rig.of({"type": "NuScenesDataset"})
    for camera in range(CAMERAS):
        turned = np.linalg.inv(rig.to_camera(camera))[:3, :3]
        w, *axis = _quaternion(turned)
        x, y, z = axis
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        assert np.allclose(np.eye(3) + 2 * w * cross + 2 * cross @ cross, turned, atol=1e-6)
