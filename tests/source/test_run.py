from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bevdiag.children import ChildError, Tell
from bevdiag.errors import ConfigError, InputError, NoVerdictError
from bevdiag.memory.device import make_target
from bevdiag.memory.events import Category, Phase
from bevdiag.memory.loop import Loop
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.repository import Repository
from bevdiag.scenes.scenario import Scenario
from bevdiag.source import run
from bevdiag.trace.alternatives import TracedStep
from tests.source.tracing import trace_source

Trace = Callable[..., TracedStep]
EVALUATION = Loop(evaluates=True)


@pytest.fixture(scope="module")
def one_stage(trace_repo: Trace) -> TracedStep:
    return trace_repo("one_stage.yaml")


@pytest.fixture(scope="module")
def two_stage(trace_repo: Trace) -> TracedStep:
    return trace_repo("two_stage.yaml")


def test_parameters_are_those_of_the_repository_s_own_modules(one_stage: TracedStep) -> None:
    vfe = 7 * 8 + 2 * 8
    backbone = 27 * 8 * 16 + 27 * 16 * 16 + 2 * 2 * 16 + 4 * 16 * 16 + 4 * 16
    head = 16 * 2 * (1 + 7) + 8
    assert one_stage.expected.params_by_module == {
        "vfe": vfe,
        "backbone_3d": backbone,
        "dense_head": head,
        "total": vfe + backbone + head,
    }


def test_its_batch_dict_tells_who_wrote_and_who_read_it(one_stage: TracedStep) -> None:
    wiring = one_stage.expected.wiring
    entries = {j.key: (j.written_by, j.read_by, j.channels) for j in wiring.entries}
    assert entries["points"] == (None, ("vfe", "dense_head"), 5)
    assert entries["features"] == ("vfe", ("backbone_3d",), 8)
    assert entries["map"] == ("backbone_3d", ("dense_head",), 32)
    assert entries["loss"] == ("dense_head", ("",), None)
    assert wiring.dead_branches == ()


def test_coordinates_have_values_and_nothing_is_assumed(one_stage: TracedStep) -> None:
    assert one_stage.assumptions == ()
    assert list(one_stage.traces) == [Scenario.EXPECTED]
    assert one_stage.expected.stream.unmodelled == ()


def test_what_the_constructor_put_on_the_gpu_counts(one_stage: TracedStep) -> None:
    anchors = [
        event
        for event in one_stage.expected.stream.allocs()
        if event.phase is Phase.LOAD and event.shape == (16 * 16, 7)
    ]
    assert [event.nbytes for event in anchors] == [16 * 16 * 7 * 4]
    assert anchors[0].category is Category.PARAMETER


def test_how_many_batches_a_norm_has_seen_is_on_the_gpu(one_stage: TracedStep) -> None:
    moved = [e for e in one_stage.expected.stream.allocs() if e.op == "Module.to" and e.shape == ()]
    assert [event.nbytes for event in moved] == [8, 8, 8]


def test_what_a_module_puts_on_the_gpu_when_imported_counts(one_stage: TracedStep) -> None:
    kept = [e for e in one_stage.expected.stream.allocs() if e.op == "import"]
    assert [event.shape for event in kept] == [(11, 3)]


def test_findings_tell_what_was_replaced(one_stage: TracedStep) -> None:
    text = "\n".join(one_stage.findings)
    assert "SharedArray" in text
    assert "surely_not_installed" not in text
    assert "one_stage.py" in text
    assert "integer mask" in text


def test_counts_that_depend_on_features_have_a_range(two_stage: TracedStep) -> None:
    assert two_stage.assumptions
    for assumption in two_stage.assumptions:
        assert assumption.low <= assumption.expected <= assumption.high
        assert assumption.used == assumption.expected
        assert assumption.why
        assert ".py:" in assumption.site
    assert set(two_stage.traces) == set(Scenario)


def test_whose_code_ran_is_said_by_module(one_stage: TracedStep) -> None:
    (said,) = [found for found in one_stage.findings if "stubs ran, by module" in found]
    assert "backbone_3d: SparseConv3d" in said
    assert "dense_head: roiaware_pool3d_cuda.points_in_boxes_gpu; vfe: none" in said


def test_a_site_can_be_pinned(two_stage: TracedStep, trace_repo: Trace) -> None:
    sites = [a.site for a in two_stage.assumptions if a.site.endswith(":nms")]
    (site,) = sites
    pinned = trace_repo("two_stage.yaml", assumptions={site: 5})
    (assumption,) = [a for a in pinned.assumptions if a.site == site]
    assert (assumption.low, assumption.used, assumption.high) == (5, 5, 5)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Aborting", "died of SIGABRT after layer"),
        ("Exiting", "exit code 3 after layer; the last it said was: about to leave"),
        ("MissingPackage", r"failing\.py:\d+: open3d\.resize is called, which is not installed"),
        ("AskingForRadar", r"failing\.py:\d+: the model reads 'radar_cube' from its batch"),
        ("UnknownOp", r"op\.py:\d+: pcdet\.ops\.mystery\.mystery_cuda\.forward"),
    ],
)
def test_what_goes_wrong_is_one_sentence(name: str, said: str, trace_repo: Trace) -> None:
    with pytest.raises(NoVerdictError, match=said):
        trace_repo("one_stage.yaml", overrides=(f"MODEL.NAME={name}",))


def test_a_step_that_hangs_is_stopped(trace_repo: Trace) -> None:
    with pytest.raises(NoVerdictError, match="was stopped after 6 s without an answer"):
        trace_repo("one_stage.yaml", overrides=("MODEL.NAME=Hanging",), timeout_seconds=6)


def test_downloads_are_refused_and_reported(trace_repo: Trace) -> None:
    trace = trace_repo("one_stage.yaml", overrides=("MODEL.NAME=Downloading",))
    assert any("neither downloaded nor loaded" in finding for finding in trace.findings)


def test_an_unknown_detector_is_reported_with_its_place(trace_repo: Trace) -> None:
    with pytest.raises(NoVerdictError, match=r"pcdet/models/__init__\.py:\d+: KeyError"):
        trace_repo("one_stage.yaml", overrides=("MODEL.NAME=Nothing",))


def test_a_folder_without_a_package(trace_repo: Trace, tmp_path: Path, repository: Path) -> None:
    config = repository / "tools" / "cfgs" / "models" / "one_stage.yaml"
    with pytest.raises(InputError, match="has no package with models"):
        trace_source(config, tmp_path, scenes={})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no such folder"):
        Repository.read(config, InspectOptions(source=str(tmp_path / "none")))


def test_a_config_that_cannot_be_read(tmp_path: Path, repository: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        trace_source(tmp_path / "none.yaml", repository, scenes={})  # type: ignore[arg-type]


def test_a_death_in_a_later_scenario_leaves_what_was_traced(
    one_stage: TracedStep, trace_repo: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any, reported: Tell, **__: Any) -> None:
        reported(TracedStep(traces={Scenario.EXPECTED: one_stage.expected}, findings=("seen",)))
        raise ChildError("the process that ran the repository died of SIGKILL in roi_head")

    monkeypatch.setattr(run, "in_child", dies)
    traced = trace_repo("one_stage.yaml")
    assert traced.expected.layers == one_stage.expected.layers
    assert traced.findings[0] == "seen"
    assert "with other counts than the expected ones" in traced.findings[1]
    # Without the upper end nobody may say that it fits.
    assert [
        said for said in traced.expected.stream.unmodelled if "died of SIGKILL in roi_head" in said
    ]


def test_the_child_traces_for_the_target(
    trace_repo: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = []

    def in_child(_: Any, task: Any, **__: Any) -> TracedStep:
        targets.append(task.options.target)
        raise ChildError("seen")

    monkeypatch.setattr(run, "in_child", in_child)
    target = make_target(torch="2.11.0", gpu="rtx3090")
    with pytest.raises(ChildError, match="seen"):
        trace_repo("one_stage.yaml", target=target)
    assert targets == [target]


def test_an_evaluation_sees_no_boxes_and_keeps_no_gradients(
    trace_repo: Trace, one_stage: TracedStep
) -> None:
    evaluated = trace_repo(
        "one_stage.yaml", overrides=("MODEL.NAME=Asking", "MODEL.WAY=plain"), loop=EVALUATION
    )
    made = list(evaluated.expected.stream.allocs())
    assert {event.phase for event in made} == {Phase.LOAD, Phase.FORWARD}
    assert not any(event.op == "batch['gt_boxes']" for event in made)
    trained = list(one_stage.expected.stream.allocs())
    assert any(event.op == "batch['gt_boxes']" for event in trained)
