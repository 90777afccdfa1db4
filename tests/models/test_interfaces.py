from pathlib import Path

import pytest

from bevdiag.config import load_config
from bevdiag.models.interfaces import uses_direct_table

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("config", "used"),
    [("configs/focalsst_dsvt.yaml", True), ("tests/rules/second.yaml", False)],
)
def test_openpcdet_finds_outputs_by_sorting_and_its_older_fork_with_a_table(
    config: str, used: bool
) -> None:
    assert uses_direct_table(load_config(ROOT / config).model) is used
