"""`bevdiag schema`; tests/test_docs.py holds the schemas that are checked in."""

import json
from pathlib import Path

import jsonschema
import pytest

from bevdiag.cli.main import run
from bevdiag.cli.reference import schema_text, schemas

ROOT = Path(__file__).parents[2]


def test_the_shipped_profiles_hold_their_schema() -> None:
    schema = json.loads(schema_text("profile"))
    profiles = sorted((ROOT / "configs/devices").glob("*.json"))
    assert profiles
    for profile in profiles:
        jsonschema.validate(json.loads(profile.read_text(encoding="utf-8")), schema)


@pytest.mark.parametrize("name", ["inspect", "inspect/2", "bevdiag.inspect/2"])
def test_a_document_has_several_names(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert run(["schema", name]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "bevdiag.inspect/2"


def test_all_documents_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema"]) == 0
    assert capsys.readouterr().out.split() == list(schemas())


def test_an_unknown_document_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", "inspekt"]) == 2
    assert "did you mean inspect/2?" in capsys.readouterr().err
