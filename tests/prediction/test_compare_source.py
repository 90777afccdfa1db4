from pathlib import Path

import pytest

from bevdiag.errors import ExitCode
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.compare import compare
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.repository import map_to_bev_modules

REPOSITORY = Path(__file__).parents[1] / "source" / "repo"
CONFIG = REPOSITORY / "tools" / "cfgs" / "models" / "one_stage.yaml"


def nothing(what: str, share: float) -> None:
    assert 0 <= share <= 1


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    package = tmp_path / "pcdet" / "models" / "backbones_2d" / "map_to_bev"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "raise RuntimeError('read, never run')\n__all__ = {'Flat': None, 'Max': None}\n"
    )
    return tmp_path


def test_registered_modules_are_read_without_running_anything(repository: Path) -> None:
    assert map_to_bev_modules(repository) == ("Flat", "Max")


@pytest.mark.parametrize("text", ["", "__all__ = {", "__all__ = ['Flat']\n"])
def test_a_repository_that_registers_none_has_none(repository: Path, text: str) -> None:
    file = repository / "pcdet" / "models" / "backbones_2d" / "map_to_bev" / "__init__.py"
    file.write_text(text)
    assert map_to_bev_modules(repository) == ()
    file.unlink()
    assert map_to_bev_modules(repository) == ()


def test_batches_are_compared_and_what_is_not_there_is_named() -> None:
    options = InspectOptions(source=str(REPOSITORY), optimizer="adamw")
    report = compare(CONFIG, options, ("sparse_max", "Nowhere"), (1, 2), (), nothing)
    small, mode, unknown, large, *_ = report.variants
    assert (small.compression, small.batch_size, large.batch_size) == ("as configured", 1, 2)
    assert small.params == large.params
    assert small.peak_allocated_bytes is not None
    assert large.difference_bytes is not None
    assert large.difference_bytes > 0
    assert small.difference_bytes is None
    assert "is a mode of bevdiag's own module" in mode.error
    assert "Nowhere is no module here" in unknown.error
    assert mode.verdict is unknown.verdict is Verdict.UNKNOWN
    assert report.exit_code is ExitCode.NO_VERDICT
