from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bevdiag.errors import InputError
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.inspect import inspect
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.repository import Repository
from bevdiag.prediction.result import Evaluation, Prediction
from bevdiag.remedies.fit import fit
from bevdiag.report.printable import Layout
from bevdiag.report.text.inspect_report import write_inspect
from bevdiag.report.text.prose import rendered
from bevdiag.rules.checks import fixes_of

REPOSITORY = Path(__file__).parents[1] / "source" / "repo"
CONFIG = next(iter(sorted((REPOSITORY / "tools" / "cfgs" / "models").glob("*.yaml"))))


def nothing(what: str, share: float) -> None:
    assert 0 <= share <= 1


def test_a_repository_is_inspected_by_its_own_code() -> None:
    options = InspectOptions(
        source=str(REPOSITORY), batch_size=1, optimizer="adamw", budget_bytes=80 * 2**30
    )
    report = inspect(CONFIG, options, nothing)
    assert report.params.total == sum(report.params.modules.values()) > 0
    assert report.peak.low_bytes <= report.peak.allocated_bytes <= report.peak.high_bytes
    assert report.peak.allocated_bytes == sum(report.peak.by_category.values())
    assert report.remedies == ()
    assert report.verdict in (Verdict.FITS, Verdict.UNKNOWN)
    assert any(layer.output_shape for layer in report.layers)
    assert report.wiring is not None
    assert {entry.written_by for entry in report.wiring.entries} >= {None, "vfe", "backbone_3d"}
    assert report.wiring.is_sound


@pytest.fixture(scope="module")
def both() -> Prediction:
    """Of a model that evaluates without boxes."""
    overrides = ("MODEL.NAME=Asking", "MODEL.WAY=plain")
    given = InspectOptions(source=str(REPOSITORY), batch_size=1, overrides=overrides)
    found = inspect(CONFIG, replace(given, evaluation=True), nothing)
    assert isinstance(found, Prediction)
    return found


def test_the_evaluation_is_traced_beside_the_training_step(both: Prediction) -> None:
    assert both.evaluation is not None
    assert both.evaluation.refusal == ""
    assert 0 < both.evaluation.allocated_bytes < both.peak.allocated_bytes
    # What training cached serves it.
    assert both.evaluation.after_bytes >= both.peak.reserved_bytes


def test_the_full_report_says_which_step_is_the_larger(both: Prediction) -> None:
    def sentence(report: Prediction) -> str:
        text = " ".join(rendered(Layout(200), write_inspect, report, depth=1).split())
        return text[text.index("Evaluation: ") :]

    assert "at most" in sentence(both)
    assert "the training step is the larger one." in sentence(both)
    larger = Evaluation(allocated_bytes=1, high_bytes=both.peak.high_bytes + 1)
    assert "larger than the training step" in sentence(replace(both, evaluation=larger))
    refused = replace(both, evaluation=Evaluation(refusal="it reads 'gt_boxes'"))
    assert "not traced: it reads 'gt_boxes'" in sentence(refused)


def test_a_model_that_cannot_evaluate_is_trained_all_the_same() -> None:
    given = InspectOptions(source=str(REPOSITORY), batch_size=1, pins={"none": 1})
    found = inspect(CONFIG, replace(given, evaluation=True), nothing)
    assert isinstance(found, Prediction)
    assert found.evaluation is not None
    assert "gt_boxes" in found.evaluation.refusal


def test_a_folder_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="no such folder"):
        inspect(CONFIG, InspectOptions(source="nowhere"), nothing)


def test_a_module_that_the_repository_lacks_is_refused_not_ignored() -> None:
    options = InspectOptions(source=str(REPOSITORY), compression="sparse_max")
    with pytest.raises(InputError, match="is a mode of bevdiag's own module"):
        inspect(CONFIG, options, nothing)


def test_the_repositorys_step_is_traced_on_each_scene() -> None:
    given = InspectOptions(source=str(REPOSITORY), batch_size=1, optimizer="adamw")
    found = inspect(CONFIG, given, nothing)
    assert isinstance(found, Prediction)
    scene = found.assumptions[0]
    assert (scene.site, scene.used) == ("scene", scene.expected)
    assert scene.low < scene.high
    pinned = inspect(CONFIG, replace(given, pins={"none": 1}), nothing)
    assert isinstance(pinned, Prediction)
    assert all(assumption.site != "scene" for assumption in pinned.assumptions)
    assert found.peak.low_bytes < pinned.peak.low_bytes


@pytest.fixture
def saved(tmp_path: Path) -> InspectOptions:
    """The options of a batch of two samples."""
    points = np.random.default_rng(0).uniform(0, 8, (60, 5))
    points[:, 0] = np.repeat([0, 1], 30)
    coords = np.c_[points[:, 0], points[:, 1:4] // 4]
    np.savez(
        tmp_path / "batch.npz",
        points=points,
        voxels=points[:, None, 1:],
        voxel_coords=coords,
        voxel_num_points=np.ones(60),
        gt_boxes=np.ones((2, 3, 8)),
        batch_size=2,
    )
    return InspectOptions(source=str(REPOSITORY), batch=str(tmp_path / "batch.npz"))


def test_a_saved_batch_is_the_scene(saved: InspectOptions) -> None:
    found = inspect(CONFIG, saved, nothing)
    assert isinstance(found, Prediction)
    assert found.scene is not None
    scene = found.scene
    assert scene.source == f"the batch of {saved.batch}"
    assert (scene.batch_size, scene.num_points, scene.num_voxels) == (2, 60, 60)
    assert all(assumption.site != "scene" for assumption in found.assumptions)


def test_a_saved_batch_has_one_size(saved: InspectOptions) -> None:
    with pytest.raises(InputError, match="so no step of 3 can be made of it"):
        Repository.read(CONFIG, saved).run_with(batch_size=3)
    with pytest.raises(InputError, match="a saved batch stays as it is"):
        fit(CONFIG, replace(saved, process_bytes=2**33), "batch", nothing)


def test_no_remedy_changes_what_a_saved_batch_holds(saved: InspectOptions) -> None:
    source = Repository.read(CONFIG, saved)
    without = Repository.read(CONFIG, replace(saved, batch=None))
    assert {"batch", "range"} & {fix.group for fix in fixes_of(without)}
    assert not {"batch", "range", "voxels", "points"} & {fix.group for fix in fixes_of(source)}


def test_voxels_that_the_model_makes_are_counted(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(0, 20, (60, 9)).astype(np.float32)
    points[:, 0] = 0
    np.savez(tmp_path / "batch.npz", points=points, gt_boxes=np.ones((1, 3, 8)), batch_size=1)
    own = REPOSITORY.parent / "own_data"
    options = InspectOptions(
        source=str(own),
        batch=str(tmp_path / "batch.npz"),
        overrides=("MODEL.NAME=Dynamic", "DATA_CONFIG.DATA_PROCESSOR=[]"),
    )
    found = inspect(own / "tools" / "cfgs" / "own.yaml", options, nothing)
    assert isinstance(found, Prediction)
    assert found.scene is not None
    assert found.scene.num_voxels == len(np.unique((points[:, :4] / 4).astype(int), axis=0))
    assert found.scene.grid_size is None
