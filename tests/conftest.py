"""Options and markers of all rooms."""

from pathlib import Path

import pytest

SLOW = (
    "accuracy",
    "cli",
    "explain/test_explain.py",
    "hostile",
    "models",
    "prediction",
    "properties",
    "remedies",
    "report/html/test_in_browser.py",
    "rules/test_pairs.py",
    "rules/test_rules.py",
    "rules/test_shipped_configs.py",
    "scenes/test_choice.py",
    "source",
    "sparse/test_against_spconv.py",
    "test_action.py",
    "test_api.py",
    "test_children.py",
    "test_documented_commands.py",
    "test_every_command.py",
    "test_numbers.py",
    "test_one_prediction.py",
    "test_pytest_plugin.py",
    "test_security.py",
    "test_site.py",
    "test_without_torch.py",
    "trace",
)
"""What traces steps or starts processes: `make fast` goes without."""
_FAST = ("source/stubs",)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--gpu", action="store_true", help="also run tests that need a CUDA device")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    slow, fast = ([here / name for name in names] for names in (SLOW, _FAST))
    for item in items:
        places = {item.path, *item.path.parents}
        if not places.isdisjoint(slow) and places.isdisjoint(fast):
            item.add_marker(pytest.mark.slow)
    if config.getoption("--gpu") or config.getoption("-m"):
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device: give --gpu"))
