from pathlib import Path
from types import SimpleNamespace

import pytest

from bevdiag.config.load import read_document
from bevdiag.rules.finding import GRID, Finding, Fix, Price, Severity, batch_key, for_training


def _fix(group: str) -> Fix:
    return Fix(
        id=group,
        group=group,
        price=Price.MODEL,
        title="",
        loses="",
        edits={("DATA_CONFIG", "RANGE"): (0, 0.5)},
    )


def test_the_edits_on_offer_are_those_that_make_the_grid_sound() -> None:
    found = Finding(
        code="BEV101", severity=Severity.ERROR, message="", fixes=(_fix("height"), _fix(GRID))
    )
    assert found.offered_edits == {"DATA_CONFIG.RANGE": "[0, 0.5]"}
    alone = Finding(code="BEV101", severity=Severity.ERROR, message="", fixes=(_fix("height"),))
    assert alone.offered_edits == {}


@pytest.mark.parametrize(
    ("written", "key"),
    [("{train: 3, test: 4}", ("D", "N", "train")), ("3", ("D", "N"))],
)
def test_a_number_by_mode_is_changed_for_training(
    written: str, key: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text(f"D:\n  N: {written}\n")
    assert for_training(read_document(tmp_path / "a.yaml"), ("D", "N")) == key


def test_the_batch_size_is_where_the_repository_reads_it() -> None:
    own = SimpleNamespace(settings=SimpleNamespace(batch_key=("data", "samples_per_gpu")))
    built_in = SimpleNamespace(settings=None)
    assert batch_key(own) == ("data", "samples_per_gpu")  # type: ignore[arg-type]
    assert batch_key(built_in) == ("OPTIMIZATION", "BATCH_SIZE_PER_GPU")  # type: ignore[arg-type]
