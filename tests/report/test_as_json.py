import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.result import Layer, Prediction, TimelinePoint
from bevdiag.report.as_json import TIMELINE_POINTS, as_json, dumps, plain
from bevdiag.rules.finding import GRID, Finding, Fix, Price, Severity


def test_golden(over: Prediction, golden: Callable[[str, str], None]) -> None:
    short = replace(over, timeline=over.timeline[::400])
    golden("inspect.json", as_json(short))


def test_the_keys_that_programs_stand_on(over: Prediction) -> None:
    document = json.loads(as_json(over))
    assert document["schema"] == "bevdiag.inspect/2"
    assert document["params"] == {
        "total": 32_166_154,
        "modules": dict(over.params.modules),
        "without_grad": 1_201_152,
    }
    assert document["oom"]["requested_bytes"] == 80_640_000_000
    assert document["verdict"] == "over"
    assert document["exit_code"] == 1
    assert set(document["phases"]) == {"forward", "backward", "optimizer"}
    assert document["first_step"]["peak_allocated_bytes"] == over.first_step.peak_allocated_bytes
    finding = next(item for item in document["findings"] if item["code"] == "BEV203")
    assert finding["location"] == {"file": "configs/focalsst_dsvt.yaml", "line": 87, "column": 5}
    assert {
        "name",
        "type",
        "in_channels",
        "out_channels",
        "output_shape",
        "params",
        "saved_bytes",
        "peak_bytes",
        "workspace_bytes",
    } <= set(document["layers"][0])


@pytest.mark.parametrize(
    ("verdict", "word"),
    [
        (Verdict.FITS, "fits"),
        (Verdict.DEPENDS, "depends"),
        (Verdict.UNKNOWN, "unknown"),
        (Verdict.NO_BUDGET, None),
    ],
)
def test_without_a_budget_there_is_no_verdict(
    over: Prediction, verdict: Verdict, word: str | None
) -> None:
    assert plain(replace(over, verdict=verdict))["verdict"] == word


def test_a_finding_lacks_what_it_has_nothing_to_say_of() -> None:
    silent = Finding(code="BEV104", severity=Severity.ERROR, message="another grid")
    assert {"command", "stops", "offered_edits", "fixes", "silenced"}.isdisjoint(plain(silent))
    fix = Fix(
        id="sound-grid",
        group=GRID,
        price=Price.MODEL,
        title="a sound grid",
        loses="range",
        edits={("DATA_CONFIG", "POINT_CLOUD_RANGE"): (0, -1, -1, 2, 1, 1)},
    )
    document = plain(replace(silent, command="ls", stops=True, fixes=(fix,)))
    assert document["command"] == "ls"
    assert document["stops"] is True
    assert document["offered_edits"] == {"DATA_CONFIG.POINT_CLOUD_RANGE": "[0, -1, -1, 2, 1, 1]"}
    assert [one["id"] for one in document["fixes"]] == ["sound-grid"]


def test_the_same_report_is_the_same_bytes(over: Prediction) -> None:
    assert as_json(over) == as_json(replace(over))


def test_the_timeline_is_short_and_keeps_its_peak(over: Prediction) -> None:
    timeline = plain(over)["timeline"]
    assert len(timeline) <= TIMELINE_POINTS + 3
    highest = max(over.timeline, key=lambda point: point.allocated_bytes)
    assert max(item["allocated_bytes"] for item in timeline) == highest.allocated_bytes


def test_a_short_timeline_is_reported_point_by_point(over: Prediction) -> None:
    points = tuple(
        TimelinePoint(phase=phase, module="vfe", allocated_bytes=size, reserved_bytes=2 * size)
        for phase, size in (("forward", 1), ("forward", 2), ("backward", 1))
    )
    timeline = plain(replace(over, timeline=points))["timeline"]
    assert [item["allocated_bytes"] for item in timeline] == [1, 2, 1]


def test_a_measurement_stands_beside_the_prediction(measured: Prediction) -> None:
    document = json.loads(as_json(measured))
    assert document["measurement"]["error_percent"] == -0.5
    assert document["measurement"]["phases"]["forward"]["allocated_after_bytes"] == 58 * 2**30


def test_the_recommended_plan_is_its_ids_and_edits(over: Prediction) -> None:
    found = plain(over)["recommended"]
    assert found == {"ids": ["sparse_max"], "edits": {"MODEL.MAP_TO_BEV.MODE": "sparse_max"}}


def test_every_figure_of_a_layer_is_reported(over: Prediction) -> None:
    assert set(plain(over)["layers"][0]) == set(Layer.__dataclass_fields__)


def test_the_wiring_is_reported_with_every_entry(over: Prediction) -> None:
    wiring = plain(over)["wiring"]
    assert [entry["key"] for entry in wiring["entries"]] == [
        "voxels",
        "encoded_spconv_tensor",
        "voxel_features",
        "spatial_features",
    ]
    assert wiring["entries"][0]["written_by"] is None
    assert wiring["bev_sources"][0]["written_by"] == "backbone_3d.focal_encoder"
    assert wiring["dead_branches"][0]["params"] == 1_201_152
    assert plain(replace(over, wiring=None))["wiring"] is None


def test_json_is_ascii_and_ends_with_a_newline() -> None:
    assert dumps({"name": "\u5377"}) == '{\n  "name": "\\u5377"\n}\n'


def test_json_has_no_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        dumps({"error": float("nan")})
