"""det3d's conventions, on a repository of this test that keeps to them."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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
from bevdiag.source.dialects import det3d, dialect_of
from bevdiag.source.dialects.det3d import Det3d
from bevdiag.source.saved_batch import SavedBatch
from bevdiag.source.stubs.small_packages import EasyDict
from bevdiag.trace.step import StepOptions

ROOT = Path(__file__).parents[1] / "det3d_repo"
CONFIG = ROOT / "configs" / "toy.py"
_described = Det3d(ROOT, CONFIG, ()).described


@pytest.fixture(scope="module")
def source() -> Repository:
    return Repository.read(CONFIG, InspectOptions(source=str(ROOT), rehearses=False))


@pytest.fixture(scope="module")
def recorded(source: Repository) -> Recorded:
    return source.record((Scenario.EXPECTED,))


@pytest.fixture(scope="module")
def config() -> EasyDict:
    spec = importlib.util.spec_from_file_location("toy", CONFIG)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return EasyDict({key: value for key, value in vars(module).items() if key[0] != "_"})


def test_a_package_beside_the_config_makes_it_det3ds(tmp_path: Path) -> None:
    assert isinstance(dialect_of(ROOT, CONFIG, ()), Det3d)
    assert not Det3d.recognise(tmp_path, CONFIG)
    assert not Det3d.recognise(ROOT, ROOT / "configs" / "toy.yaml")


def test_a_config_says_what_its_scene_and_step_are(source: Repository) -> None:
    settings = source.settings
    assert source.batch_size == 2
    assert source.optimizer == "adam"
    assert settings.class_names == ("car", "pedestrian")
    assert settings.point_features == ("x", "y", "z", "intensity", "timestamp")
    assert settings.point_cloud_range == (-8, -8, -3, 8, 8, 1)
    assert settings.grid_size == (16, 16, 1)
    assert (settings.max_points, settings.max_voxels) == (4, 200)
    assert source.scene_settings.frame.frames == 2
    assert source.scene_settings.frame.dataset == "NuScenesDataset"
    assert settings.half_precision is None


def test_the_repositorys_own_pipeline_makes_the_batch(recorded: Recorded) -> None:
    in_a_step = [
        event.shape
        for event in recorded.traces[Scenario.EXPECTED].stream.allocs()
        if event.step == 2 and event.shape[1:] == (4, 5)
    ]
    # The step moves the batch anew each time, and it is the pipeline's: its caps hold.
    assert in_a_step == [(2 * 200, 4, 5)]
    assert any("GT-AUG was left out" in note for note in recorded.notes)


def test_weights_that_are_not_loaded_are_reported(recorded: Recorded) -> None:
    said = "weights (work_dirs/toy/latest.pth) were not loaded"
    assert any(said in note for note in recorded.notes)


def test_the_step_ends_with_the_optimizer_of_the_schedule(recorded: Recorded) -> None:
    trace = recorded.traces[Scenario.EXPECTED]
    assert trace.params_by_module == {"reader": 5 * 8 + 8, "head": 8 * 9 + 1, "total": 121}
    states = [
        event for event in trace.stream.allocs() if event.category is Category.OPTIMIZER_STATE
    ]
    assert sum(event.nbytes for event in states if len(event.shape)) >= 2 * 121 * 4
    assert trace.params_not_optimized == {}


@pytest.mark.parametrize(
    ("settings", "schedule", "build"),
    [
        ({"TYPE": "adam", "VALUE": {}}, "one_cycle", "build_fastai_optimizer"),
        ({"type": "adam", "wd": 0.01}, "one_cycle", "build_one_cycle_optimizer"),
        ({"type": "SGD", "lr": 0.1}, "step", "build_optimizer"),
    ],
)
def test_the_optimizer_is_what_the_trainer_of_the_time_builds(
    settings: dict[str, Any], schedule: str, build: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = torch.nn.Linear(1, 1)
    made = torch.optim.SGD(model.parameters(), lr=0.1)
    built = made if build == "build_optimizer" else SimpleNamespace(opt=made)
    train = SimpleNamespace(**{build: lambda *_: built})
    monkeypatch.setattr(det3d, "required", lambda _: train)
    dialect = Det3d(ROOT, CONFIG, ())
    dialect._config = EasyDict({"optimizer": settings, "lr_config": {"type": schedule}})
    assert dialect.optimizer(model) is made


def test_gradients_stay_until_the_next_forward_pass_is_over(recorded: Recorded) -> None:
    """As this trainer's hook frees them: a forward pass has the last step's beside it."""
    stream = recorded.traces[Scenario.EXPECTED].stream
    gradients = stream.where(category=Category.GRADIENT, step=2)
    assert gradients.any()
    (forward,) = (s for s in stream.sections() if (s.step, s.phase) == (3, Phase.FORWARD))
    last_product = max(
        stream.made[number]
        for number, event in enumerate(stream.allocs())
        if event.step == 3 and event.op == "aten.convolution.default"
    )
    assert (stream.freed[gradients] > last_product).all()
    assert (stream.freed[gradients] < forward.stop).all()


def test_no_verdict_stands_before_a_step_was_measured(recorded: Recorded) -> None:
    assert any(
        "models of det3d: no prediction for one was held against a measured step" in sentence
        for sentence in recorded.traces[Scenario.EXPECTED].stream.unmodelled
    )


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Reads the config in this process, with one override."""
    monkeypatch.syspath_prepend(ROOT)
    yield lambda text: _described(Det3d(ROOT, CONFIG, (text,)).read())
    for name in [name for name in sys.modules if name.partition(".")[0] in ("det3d", "toy")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("data.samples_per_gpu=1", "batch_size", 1),
        ("data.train.pipeline.3.cfg.max_voxel_num=[50, 60]", "max_voxels", [50, 60]),
    ],
)
def test_overrides_reach_lists_too(
    read: Callable[[str], dict[str, Any]], text: str, key: str, expected: object
) -> None:
    assert read(text)[key] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data.samples_per_gpu", "expected KEY=value"),
        ("data.train.pipeline.9.cfg=1", r"the config has no data\.train\.pipeline\.9\.cfg"),
        ("data.train=[", "the value is no YAML"),
    ],
)
def test_an_override_of_nothing_is_one_sentence(
    read: Callable[[str], dict[str, Any]], text: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(text)


def test_a_config_that_trains_nothing_is_one_sentence(config: EasyDict) -> None:
    with pytest.raises(NoVerdictError, match=r"no data set to train on \(data\.train\)"):
        _described({**config, "data": {}})


def test_voxels_of_the_reader_have_its_range(config: EasyDict) -> None:
    """A detector of two stages, whose first one voxelizes points by itself."""
    reader = {"pc_range": [-4, -4, -1, 4, 4, 1], "voxel_size": [1, 1, 2], "num_input_features": 3}
    model = {"type": "TwoStage", "first_stage_cfg": {"reader": reader}}
    train = {"type": "WaymoDataset", "pipeline": []}
    both = {**config, "model": model, "data": {"train": train}}
    said = _described(both)
    assert (said["range"], said["voxel_size"]) == ([-4, -4, -1, 4, 4, 1], [1, 1, 2])
    assert (said["max_points"], said["max_voxels"]) == (-1, -1)
    assert said["features"] == ["x", "y", "z"]
    reader["num_input_features"] = 2  # what a point has beside its coordinates
    assert len(_described(both)["features"]) == 5
    with pytest.raises(NoVerdictError, match="there is no range of points"):
        _described({**config, "model": {"type": "Toy"}, "data": {"train": train}})


@pytest.mark.parametrize("hook", [{}, {"grad_clip": None}, {"grad_clip": {"max_norm": 35}}])
def test_gradients_are_clipped_where_the_trainers_hook_does(hook: dict[str, Any]) -> None:
    dialect = Det3d(ROOT, CONFIG, ())
    dialect._config = EasyDict({"optimizer_config": hook})
    options = StepOptions(optimization=OptimizationSettings(), optimizer="adam")
    assert dialect.options(options).clips is bool(hook.get("grad_clip"))


def test_batches_that_are_added_up_are_refused() -> None:
    options = StepOptions(
        optimization=OptimizationSettings(), optimizer="adam", loop=Loop(accumulate=2)
    )
    with pytest.raises(InputError, match="--accumulate: the trainer of det3d updates after each"):
        Det3d(ROOT, CONFIG, ()).options(options)


def test_a_saved_batch_and_evaluation_are_refused() -> None:
    dialect = Det3d(ROOT, CONFIG, ())
    saved: Any = SavedBatch(Path("batch.pt"), {})
    with pytest.raises(InputError, match="det3d's own pipeline makes the batch"):
        dialect.supply(saved, [], loads=True)
    with pytest.raises(NoVerdictError, match="evaluation has a pipeline of its own"):
        dialect.predictions(None, None)  # type: ignore[arg-type]
