from dataclasses import replace
from pathlib import Path

import pytest

from bevdiag.errors import InputError
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.inspect import inspect
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import Prediction

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
    assert {joint.written_by for joint in report.wiring.joints} >= {None, "vfe", "backbone_3d"}
    assert report.wiring.is_sound


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
