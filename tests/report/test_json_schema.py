"""Schemas that are checked in, and documents that hold them."""

import json
from pathlib import Path

import jsonschema
import pytest
from packaging.version import Version

from bevdiag.accuracy.outcome import MeasuredOn, MeasuredRow, Outcome, Validation
from bevdiag.doctor.examine import Checkup
from bevdiag.environment.environment import Environment
from bevdiag.environment.gpus import Driver
from bevdiag.environment.packages import Packages
from bevdiag.environment.probes import ImportProbe
from bevdiag.explain.answer import (
    Candidate,
    Certainty,
    Explanation,
    Failure,
    Figure,
    OtherProcess,
)
from bevdiag.explain.kinds import kinds
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.baseline import Baseline, BaselineEntry
from bevdiag.report.as_json import as_json
from bevdiag.report.json_schema import SCHEMAS, json_schema

GOLDEN = Path(__file__).parent / "golden"


def closed(schema):
    """The schema, where no object may hold a key that it does not describe."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: closed(part) for key, part in schema.items()}
    return parts | ({"additionalProperties": False} if "properties" in parts else {})


def holds(name, text):
    schema = json.loads(json_schema(name))
    validator = jsonschema.Draft202012Validator
    validator.check_schema(schema)
    document = json.loads(text)
    assert document["schema"] == f"bevdiag.{name}"
    validator(closed(schema)).validate(document)


def test_a_traced_step(over, measured):
    holds("inspect/2", as_json(over))
    holds("inspect/2", as_json(measured))


def test_findings_alone(checks):
    broken = next(check for check in checks if check.config == "configs/broken.yaml")
    holds("findings/1", as_json(broken.report))


def test_checks_of_every_outcome(checks):
    assert {check.verdict for check in checks} >= {None, Verdict.FITS, Verdict.OVER}
    holds("preflight/2", as_json(checks))


def test_a_comparison(compared):
    holds("compare/1", as_json(compared))


@pytest.mark.parametrize("name", ["inspect/2", "preflight/2", "compare/1", "fix/1", "fit/1"])
def test_golden_documents(name):
    holds(name, (GOLDEN / f"{name[:-2]}.json").read_text(encoding="utf-8"))


def test_an_environment():
    environment = Environment(
        source="this Python",
        is_installed=True,
        python=Version("3.10"),
        packages=Packages(by_name={}),
        driver=Driver(version="550.54", cuda=(12, 4)),
        probes=(ImportProbe(stage="cumm", signal="SIGFPE"),),
    )
    holds("doctor/1", as_json(Checkup(environment=environment, findings=(), unknown=("x",))))


def test_an_explanation(over):
    figure = Figure("75.10 GiB", 1, 2)
    failure = Failure(
        kind=kinds()["allocator"],
        sentence="x",
        line=1,
        requested=figure,
        others=(OtherProcess(7, figure),),
    )
    candidate = Candidate(
        module="vfe",
        phase="forward",
        step=1,
        what="tensor",
        arithmetic="1 x 2",
        nbytes=1,
        requested_bytes=2,
        allocated_bytes=3,
        condition="",
        certainty=Certainty.LIKELY,
        reasons=("x",),
    )
    explained = Explanation(
        failure=failure,
        others=(failure,),
        decoded=("x",),
        target=over.target,
        candidates=(candidate,),
    )
    holds("explain/1", as_json(explained))


def test_a_validation():
    row = MeasuredRow(
        name="one",
        config=None,
        scene="lidar",
        points_per_sample=10,
        batch_size=2,
        autocast="off",
        compression=None,
        overrides=(),
        pins={},
        first_step_bytes=None,
        cudnn=None,
        params=100,
        peak_allocated_bytes=1000,
        max_reserved_bytes=2000,
    )
    predicted = Outcome(
        row=row, params=1, allocated_bytes=1, low_bytes=1, high_bytes=1, reserved_bytes=1
    )
    outcomes = (predicted, Outcome(row=row, error="not modelled"))
    holds("validate/1", as_json(Validation(machine=MeasuredOn(), outcomes=outcomes)))


def test_a_baseline():
    entry = BaselineEntry(
        conditions={"torch": "2.4"},
        params=1,
        peak_allocated_bytes=2,
        high_reserved_bytes=3,
        kept_for_backward_bytes={"vfe": 4},
    )
    holds("baseline/1", Baseline(configs={"model.yaml": entry}).text())


def test_a_key_that_is_missing_or_not_described_is_noticed(over):
    document = json.loads(as_json(over))
    for changed in (document | {"surprise": 1}, {k: v for k, v in document.items() if k != "oom"}):
        with pytest.raises(jsonschema.ValidationError):
            holds("inspect/2", json.dumps(changed))


def test_a_reader_need_not_know_every_key(over):
    document = json.loads(as_json(over)) | {"surprise": 1}
    jsonschema.validate(document, json.loads(json_schema("inspect/2")))


def test_every_document_is_held_to_its_schema():
    source = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in SCHEMAS if f'"{name}"' not in source] == []
