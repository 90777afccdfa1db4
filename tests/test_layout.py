"""A module's tests are found by its name, or by what is listed here."""

import ast
from pathlib import Path

import pytest

from bevdiag.rules.codes import CODES

ROOT = Path(__file__).parents[1]
LEAST_LINES = 60
MODULES = {
    path.relative_to(ROOT / "bevdiag").with_suffix("").as_posix(): path
    for path in sorted((ROOT / "bevdiag").rglob("*.py"))
    if not path.name.startswith("__")
    and len(path.read_text(encoding="utf-8").splitlines()) >= LEAST_LINES
}
OF_RULES = {f"rules/{row.module}" for row in CODES.values()}
"""What tests/rules/CODE holds for each of their codes, or tests/rules/test_rules.py."""

PACKAGES = {
    "models/backbones_2d": "models/test_one_stage.py",
    "models/backbones_3d": "models/test_builder.py",
    "models/dense_heads": "models/test_one_stage.py",
    "models/vfe": "models/test_one_stage.py",
    "models": "models/test_builder.py",
    "source": "source/test_run.py",
    "source/dialects/mmcv1": "source/dialects/test_mmcv1.py",
}
"""Packages whose modules are steps of one way, each with the test that goes it from end to end."""

ELSEWHERE = {
    "cli/options": "cli/test_main.py",
    "cli/reference": "test_policy.py",
    "config/model_settings": "config/test_settings.py",
    "prediction/entry": "source/dialects/test_entry.py",
    "prediction/predicted": "prediction/test_module.py",
    "prediction/scene": "prediction/test_built_in.py",
    "prediction/step_source": "prediction/test_built_in.py",
    "report/text/doctor_report": "doctor/test_examine.py",
    "rules/smaller_step": "remedies/test_candidates.py",
    "source/dialects/openmmlab": "source/dialects/mmengine/test_frames.py",
    "source/dialects/protocol": "source/dialects/pcdet/test_read_keys.py",
    "trace/measure": "prediction/test_measured.py",
    "trace/operands": "source/test_simulated_gpu.py",
    "trace/real_run": "trace/test_any_model.py",
}
"""Modules that the test of another module holds: they are parts of what it does."""

DATA = (
    "memory/profile",
    "memory/requests",
    "prediction/options",
    "remedies/results",
    "scenes/point_layout",
)
"""Frozen values without a decision of their own."""


def _own_test(module: str) -> Path:
    path = Path(module)
    return ROOT / "tests" / path.parent / f"test_{path.name}.py"


def _imports(test: str, module: str) -> bool:
    """Whether a test imports something of the module's package, which is how it gets there."""
    tree = ast.parse((ROOT / "tests" / test).read_text(encoding="utf-8"))
    package = f"bevdiag.{Path(module).parts[0]}"
    return any(
        isinstance(node, ast.ImportFrom) and (node.module or "").startswith(package)
        for node in ast.walk(tree)
    )


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_a_test_of_its_name_or_one_that_is_listed(module: str) -> None:
    listed = (
        module in OF_RULES
        or module in ELSEWHERE
        or module in DATA
        or str(Path(module).parent) in PACKAGES
    )
    assert _own_test(module).exists() or listed, f"write {_own_test(module).relative_to(ROOT)}"


@pytest.mark.parametrize("module", [*ELSEWHERE, *DATA])
def test_what_is_listed_is_there_and_has_no_test_of_its_own(module: str) -> None:
    assert module in MODULES, "take it off the list"
    assert not _own_test(module).exists(), "take it off the list"
    assert str(Path(module).parent) not in PACKAGES, "take it off the list"
    if module in ELSEWHERE:
        assert _imports(ELSEWHERE[module], module)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_that_is_listed_needs_it(package: str) -> None:
    without = [
        module
        for module in MODULES
        if str(Path(module).parent) == package and not _own_test(module).exists()
    ]
    assert without, "take it off the list"
    assert _imports(PACKAGES[package], package)


@pytest.mark.parametrize("code", CODES)
def test_a_rule_has_a_pair_or_is_tried_by_hand(code: str) -> None:
    by_hand = (ROOT / "tests" / "rules" / "test_rules.py").read_text(encoding="utf-8")
    module = CODES[code].module
    assert (
        (ROOT / "tests" / "rules" / code).is_dir()
        or code in by_hand
        or f"bevdiag.rules.{module}" in by_hand
        or _own_test(f"rules/{module}").exists()
    )
