"""Whatever stands in a config: one sentence, an exit code, little time and memory."""

from pathlib import Path

import pytest

from .corpus import TEXTS, altered_configs
from .limits import Ending, ended

_LONGEST_SENTENCE = 4000

_CONFIGS = {**TEXTS, **dict(altered_configs())}


def _check_reported(ending: Ending, *, names_a_module: bool = False) -> None:
    """The input is refused in a line that a terminal and a log can be trusted with."""
    # 3: a module that no one knows leaves no verdict.
    assert ending.code in ((1, 2, 3) if names_a_module else (1, 2)), ending
    if ending.code != 1:
        assert ending.out == ""
        assert ending.err.startswith("error: ")
        assert ending.err.count("\n") == 1
    assert len(ending.err) < _LONGEST_SENTENCE
    assert "Traceback" not in ending.err
    reported = (ending.out + ending.err).replace("\n", "")
    assert reported.isprintable(), reported


@pytest.mark.parametrize("name", _CONFIGS)
def test_a_hostile_config_ends_well(name: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(_CONFIGS[name])
    ending = ended("inspect", str(path), "--device", "meta", "--no-remedies")
    _check_reported(ending, names_a_module="NAME is " in name)


def test_there_are_enough_of_them() -> None:
    assert len(_CONFIGS) >= 200
