from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bevdiag.errors import NoVerdictError
from bevdiag.memory.events import Alloc
from bevdiag.prediction import built_in as session
from bevdiag.sparse import constants
from bevdiag.trace.scenarios import Scenario


def test_options_stand_before_the_configs_own(small: Any) -> None:
    variant = small.session().variant(small.config)
    assert (variant.batch_size, variant.autocast, variant.optimizer) == (1, "off", "adam_onecycle")
    session = small.session(batch_size=3, autocast="bf16", optimizer="sgd")
    variant = session.variant(small.config)
    assert (variant.batch_size, variant.autocast, variant.optimizer) == (3, "bf16", "sgd")


def test_a_config_that_uses_amp_runs_in_half_precision(small: Any) -> None:
    session = small.session(overrides=("OPTIMIZATION.USE_AMP=true",))
    assert session.variant(small.config).autocast == "fp16"


def test_a_scene_is_made_once(small: Any) -> None:
    session = small.session()
    variant = session.variant(small.config)
    assert session.scene(variant) is session.scene(variant)
    other = variant.edited({("OPTIMIZATION", "LR"): 0.1})
    assert session.scene(other) is session.scene(variant)
    halved = variant.edited(
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
    assert session.scene(halved).num_voxels == 50


def test_made_up_scenes_fit_the_config_and_follow_the_seed(small: Any) -> None:
    scenes = []
    for seed in (0, 0, 1):
        session = small.session(points=(), seed=seed)
        scenes.append(session.scene(session.variant(small.config)))
    assert scenes[0].source == "synthetic sonar, seed 0"
    assert (scenes[0].points == scenes[1].points).all()
    assert (
        scenes[0].points.shape != scenes[2].points.shape
        or (scenes[0].points != scenes[2].points).any()
    )


def test_samples_take_the_files_in_turn(small: Any, tmp_path: Path) -> None:
    session = small.session(points=(str(small.points),) * 2, batch_size=3)
    batch = session.scene(session.variant(small.config))
    assert batch.batch_size == 3
    assert batch.voxels is not None
    assert len({len(sample.coords) for sample in batch.voxels}) == 1


def test_a_pinned_count_needs_one_trace(small: Any) -> None:
    assert list(small.traced().traces) == [Scenario.EXPECTED]


def test_an_open_count_needs_one_a_scenario(small: Any) -> None:
    traced = small.traced(pinned=False)
    assert list(traced.traces) == list(Scenario)
    sizes = [len(traced.traces[scenario].stream.events) for scenario in Scenario]
    assert all(sizes)
    (site,) = traced.kept_voxels
    assert site.low < site.high


def test_a_measured_count_is_taken_where_the_user_pinned_none(small: Any) -> None:
    session = small.session(pinned=False)
    measured = {f"{small.site}@1": 777, f"{small.site}@2": 700}
    assert session.pinned({}).options.pins == {}
    assert session.pinned(measured).options.pins == measured
    by_user = small.session()
    assert by_user.pinned(measured).options.pins == by_user.options.pins


def test_counts_by_step_are_traced_by_step(small: Any) -> None:
    counts = (2000, 1200, 1900)
    pins = {f"{small.site}@{step}": count for step, count in enumerate(counts, 1)}
    traced = small.session(pins=pins).trace(small.session().variant(small.config), tuple(Scenario))
    events = traced.traces[Scenario.EXPECTED].stream.events
    convolved = [
        event.shape[0]
        for event in events
        if isinstance(event, Alloc) and event.module.endswith("conv_focal.2")
    ]
    assert list(dict.fromkeys(convolved)) == list(counts)
    (site,) = traced.kept_voxels
    assert site.used == counts[2]
    assert "step 3" in site.why


def test_the_target_is_for_the_installed_torch(small: Any) -> None:
    target = small.session(gpu="t4", budget_bytes=2**30, cudnn="9.1").target()
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
    assert small.session(device=device).uses_cuda() is used


def test_a_step_runs_with_the_switches_of_the_originals(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*_: object) -> SimpleNamespace:
        return SimpleNamespace(direct_table=constants.SPCONV_USE_DIRECT_TABLE)

    monkeypatch.setattr(session, "trace_steps", look)
    monkeypatch.setattr(session, "settle", lambda trace: trace)
    for used in (True, False):
        monkeypatch.setattr(session, "uses_direct_table", lambda _, used=used: used)
        asked = small.session()
        traced = asked.trace(asked.variant(small.config), [Scenario.EXPECTED])
        assert traced.traces[Scenario.EXPECTED].direct_table is used


def test_the_step_is_traced_for_the_target(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # The trace runs in a worker process, which hands back nothing but what it raises.
    def trace_steps(model: Any, batch: Any, options: Any, customs: Any) -> Any:
        raise NoVerdictError(f"traced for {options.target and options.target.gpu}")

    monkeypatch.setattr(session, "trace_steps", trace_steps)
    asked = small.session(gpu="rtx3090")
    with pytest.raises(NoVerdictError, match="traced for rtx3090"):
        asked.trace(asked.variant(small.config), (Scenario.EXPECTED,))
