from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from bevdiag.errors import NoVerdictError
from bevdiag.memory.events import Category
from bevdiag.memory.loop import Loop
from bevdiag.memory.simulate import walk
from bevdiag.prediction import built_in
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.result import SCENE_SITE
from bevdiag.scenes.scenario import Scenario
from bevdiag.sparse import constants
from bevdiag.trace.kept_voxels import settle_kept_voxels


def test_options_stand_before_the_configs_own(small: Any) -> None:
    source = small.source()
    assert (source.batch_size, source.autocast, source.optimizer) == (1, "off", "adam_onecycle")
    source = small.source(batch_size=3, autocast="bf16", optimizer="sgd")
    assert (source.batch_size, source.autocast, source.optimizer) == (3, "bf16", "sgd")


def test_a_config_that_uses_amp_runs_in_half_precision(small: Any) -> None:
    source = small.source(overrides=("OPTIMIZATION.USE_AMP=true",))
    assert source.autocast == "fp16"


def test_a_scene_is_made_once(small: Any) -> None:
    source = small.source()
    assert source.batch() is source.batch()
    other = source.edited({("OPTIMIZATION", "LR"): 0.1})
    assert other.batch() is source.batch()
    halved = source.edited(
        {
            (
                "DATA_CONFIG",
                "DATA_PROCESSOR",
                "transform_points_to_voxels",
                "MAX_NUMBER_OF_VOXELS",
                "train",
            ): 50
        }
    )
    assert halved.batch().num_voxels == 50


def test_made_up_scenes_fit_the_config_and_follow_the_seed(small: Any) -> None:
    scenes = []
    for seed in (0, 0, 1):
        source = small.source(points=(), seed=seed)
        scenes.append(source.batch())
    assert scenes[0].source == "synthetic sonar, seed 0"
    assert (scenes[0].points == scenes[1].points).all()
    assert (
        scenes[0].points.shape != scenes[2].points.shape
        or (scenes[0].points != scenes[2].points).any()
    )


def test_samples_take_the_files_in_turn(small: Any, tmp_path: Path) -> None:
    source = small.source(points=(str(small.points),) * 2, batch_size=3)
    batch = source.batch()
    assert batch.batch_size == 3
    assert batch.voxels is not None
    assert len({len(sample.coords) for sample in batch.voxels}) == 1


def test_a_pinned_count_needs_one_trace(small: Any) -> None:
    assert list(small.recorded().traces) == [Scenario.EXPECTED]


def test_an_open_count_needs_one_a_scenario(small: Any) -> None:
    traced = small.recorded(pinned=False)
    assert list(traced.traces) == list(Scenario)
    sizes = [len(traced.traces[scenario].stream.events) for scenario in Scenario]
    assert all(sizes)
    (site,) = traced.kept_voxels
    assert site.low < site.high


def test_a_measured_count_is_taken_where_the_user_pinned_none(small: Any) -> None:
    source = small.source(pinned=False)
    measured = {f"{small.site}@1": 777, f"{small.site}@2": 700}
    assert source.pinned({}).options.pins == {}
    assert source.pinned(measured).options.pins == measured
    by_user = small.source()
    assert by_user.pinned(measured).options.pins == by_user.options.pins


def test_counts_by_step_are_traced_by_step(small: Any) -> None:
    counts = (2000, 1200, 1900)
    pins = {f"{small.site}@{step}": count for step, count in enumerate(counts, 1)}
    traced = small.source(pins=pins).record()
    events = traced.traces[Scenario.EXPECTED].stream.allocs()
    convolved = [event.shape[0] for event in events if event.module.endswith("conv_focal.2")]
    assert list(dict.fromkeys(convolved)) == list(counts)
    (site,) = traced.kept_voxels
    assert site.used == counts[2]
    assert "step 3" in site.why


def test_the_target_is_for_the_installed_torch(small: Any) -> None:
    target = small.source(gpu="t4", budget_bytes=2**30, cudnn="9.1").target()
    assert target.torch == torch.__version__.partition("+")[0]
    assert (target.gpu, target.capacity_bytes, target.cudnn) == ("t4", 2**30, (9, 1, 0))


@pytest.mark.parametrize(
    ("there", "device", "used"),
    [(True, "auto", True), (True, "meta", False), (True, "cuda", True), (False, "auto", False)],
)
def test_a_gpu_is_used_where_there_is_one_and_it_is_wanted(
    small: Any, monkeypatch: pytest.MonkeyPatch, there: bool, device: str, used: bool
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: there)
    assert small.source(device=device).uses_cuda() is used


def test_a_step_runs_with_the_switches_of_the_originals(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The trace runs in a worker process, which hands back nothing but what it raises.
    def look(*_: object) -> None:
        raise NoVerdictError(f"direct table: {constants.SPCONV_USE_DIRECT_TABLE}")

    monkeypatch.setattr(built_in, "trace_steps", look)
    for used in (True, False):
        monkeypatch.setattr(built_in, "uses_direct_table", lambda _, used=used: used)
        with pytest.raises(NoVerdictError, match=f"direct table: {used}"):
            small.source().record([Scenario.EXPECTED])


def test_the_step_is_traced_for_the_target(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # The trace runs in a worker process, which hands back nothing but what it raises.
    def trace_steps(model: Any, batch: Any, options: Any, hooks: Any) -> Any:
        raise NoVerdictError(f"traced for {options.target and options.target.gpu}")

    monkeypatch.setattr(built_in, "trace_steps", trace_steps)
    asked = small.source(gpu="rtx3090")
    with pytest.raises(NoVerdictError, match="traced for rtx3090"):
        asked.record((Scenario.EXPECTED,))


def test_a_synthetic_scene_has_an_end_of_its_own(small: Any) -> None:
    source = small.source(points=(), pins={})
    recorded = source.record()
    sparse, common = source.batch(Scenario.LOW), source.batch()
    assert len(sparse.points) < 0.8 * len(common.points)
    assert source.batch(Scenario.LOW) is sparse
    scene, counted = recorded.assumptions
    assert (scene.site, counted.site) == (SCENE_SITE, small.site)
    assert (scene.low, scene.high) == (sparse.num_voxels, common.num_voxels)
    assert recorded.scene is not None
    assert recorded.scene.num_points == len(common.points)
    (site,) = recorded.kept_voxels
    _, (expected,) = source.input()
    low = settle_kept_voxels(source.config, sparse, seed=source.options.seed, pins={})[0].low
    assert site.low == min(low, expected.low)
    assert site.low < site.used == expected.used


def test_files_and_pinned_counts_fix_the_scene(small: Any) -> None:
    files = small.source(pins={})
    recorded = files.record((Scenario.LOW, Scenario.EXPECTED))
    assert [one.site for one in recorded.assumptions] == [small.site]
    pinned = small.source(points=(), pins={f"{small.site}@1": 1000})
    recorded = pinned.record()
    assert list(recorded.traces) == [Scenario.EXPECTED]
    assert [one.site for one in recorded.assumptions] == [small.site]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"autocast": "bf16"},
        {"overrides": ("MODEL.BACKBONE_3D.DSVT.ues_checkpoint=true",)},
        {"loop": Loop(accumulate=2, scaler=True, ema=True), "autocast": "fp16"},
        {"loop": Loop(evaluates=True)},
    ],
)
def test_one_step_shows_those_that_follow(small: Any, options: dict[str, Any]) -> None:
    source = small.source(**options)
    settled = source._settled(Scenario.EXPECTED)
    shown, ran = (source._traced(*settled, Scenario.EXPECTED, steps) for steps in (1, 2))
    assert shown.leftovers is None
    assert shown.stream.events.tolist() == ran.stream.events.tolist()
    assert list(shown.stream.allocs()) == list(ran.stream.allocs())
    assert (shown.departures, shown.flops) == (ran.departures, ran.flops)


def test_several_gpus_regroup_after_the_first_step(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = small.source(loop=Loop(gpus=2))
    counts = []
    traced = BuiltIn._traced

    def count(self: BuiltIn, *arguments: Any) -> Any:
        counts.append(arguments[-1])
        return traced(self, *arguments)

    monkeypatch.setattr(BuiltIn, "_traced", count)
    source._trace(*source._settled(Scenario.EXPECTED), Scenario.EXPECTED)
    assert counts == [2]


def test_a_model_is_built_without_the_compiler(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source = small.source()
    inside = []

    @contextmanager
    def without_compiler() -> Iterator[None]:
        inside.append(True)
        yield
        inside.pop()

    build = built_in.build_detector

    def built(*arguments: Any, **named: Any) -> Any:
        assert inside
        return build(*arguments, **named)

    monkeypatch.setattr(built_in, "without_compiler", without_compiler)
    monkeypatch.setattr(built_in, "build_detector", built)
    source._trace(*source._settled(Scenario.EXPECTED), Scenario.EXPECTED)
    assert not inside


def test_an_evaluation_keeps_nothing_for_gradients(small: Any) -> None:
    training = small.source()
    step = training.record((Scenario.EXPECTED,)).traces[Scenario.EXPECTED]
    evaluated = small.source(loop=Loop(evaluates=True))
    trace = evaluated.record((Scenario.EXPECTED,)).traces[Scenario.EXPECTED]
    categories = {event.category for event in trace.stream.allocs()}
    assert not categories & {Category.GRADIENT, Category.OPTIMIZER_STATE}
    inputs = {e.op for e in trace.stream.allocs() if e.category is Category.INPUT}
    assert "batch['gt_boxes']" not in inputs
    totals = [walk(t.stream, training.target()) for t in (step, trace)]
    trains, evaluates = (int(total.allocated.max()) for total in totals)
    assert evaluates < trains


def test_an_evaluation_takes_the_counts_for_tests(small: Any) -> None:
    caps = "DATA_CONFIG.DATA_PROCESSOR.transform_points_to_voxels.MAX_NUMBER_OF_VOXELS"
    overrides = (f"{caps}.train=200", f"{caps}.test=100")
    for evaluates, most in ((False, 200), (True, 100)):
        source = small.source(overrides=overrides, loop=Loop(evaluates=evaluates))
        assert source.scene_settings.max_voxels == most
