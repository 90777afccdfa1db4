from pathlib import Path

import pytest

from bevdiag.errors import (
    BevdiagError,
    ConfigError,
    ExitCode,
    InputError,
    Location,
    NoVerdictError,
    OutputError,
    RepositoryError,
)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (ConfigError, ExitCode.USAGE),
        (InputError, ExitCode.USAGE),
        (NoVerdictError, ExitCode.NO_VERDICT),
        (OutputError, ExitCode.NO_VERDICT),
        (RepositoryError, ExitCode.NO_VERDICT),
    ],
)
def test_each_error_leads_to_its_exit_code(kind: type[BevdiagError], code: ExitCode) -> None:
    assert kind("a sentence").exit_code is code


def test_a_fault_of_a_config_names_its_place_and_its_key() -> None:
    place = Location(Path("a.yaml"), 3, 5)
    assert str(ConfigError("no number")) == "no number"
    assert str(ConfigError("no number", key="MODEL.NAME")) == "MODEL.NAME: no number"
    assert str(ConfigError("no number", location=place, key="A")) == "a.yaml:3:5: A: no number"
