from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import model_zoo

from bevdiag.errors import NoVerdictError
from bevdiag.source.downloads import NoWeights, made_by, refuse
from bevdiag.trace import places

_PATCHED: tuple[tuple[Any, str], ...] = (
    *((torch.hub, name) for name in ("load", "load_state_dict_from_url", "download_url_to_file")),
    (model_zoo, "load_url"),
    (torch, "load"),
    (nn.Module, "load_state_dict"),
)


@pytest.fixture
def weights() -> NoWeights:
    return NoWeights("x.pth", "model.py:3", nn.Sequential(nn.Linear(2, 3)))


def test_a_checkpoint_holds_the_model_s_own_weights_in_any_section(weights: NoWeights) -> None:
    assert weights["state_dict"].get("model") is weights
    assert weights["0.weight"].shape == (3, 2)
    assert weights.pop("epoch") is weights


@pytest.mark.parametrize("prefix", ["backbone.", "module."])
def test_a_prefix_is_found_and_cut_off(weights: NoWeights, prefix: str) -> None:
    cut = {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}
    assert list(cut) == ["0.weight", "0.bias"]
    assert all(name.startswith("module.") for name in cut)


def test_a_part_of_the_model_is_no_prefix(weights: NoWeights) -> None:
    assert [name for name in weights if name.startswith("0.w")] == ["0.weight"]
    assert [name[2:] for name in weights if name.startswith("0.")] == ["weight", "bias"]
    assert not any(name.startswith("head") for name in weights)


def test_what_computes_with_a_file_that_is_not_there_is_named(weights: NoWeights) -> None:
    with pytest.raises(NoVerdictError, match=r"model\.py:3: .* loads from x\.pth \(`\.shape`\)"):
        torch.zeros(weights["table"].shape)


def test_the_program_that_makes_a_missing_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "curves.py").write_text(
        "import torch\nfor rank in (1, 2):\n    torch.save(rank, f'./data/curve_rank_{rank}.pth')\n"
    )
    (tmp_path / "reader.py").write_text("import torch\ntorch.load('curve_rank_2.pth')\n")
    monkeypatch.setattr(places, "_roots", [tmp_path])
    assert made_by("curve_rank_2.pth") == " (a file that tools/curves.py:3 makes)"
    assert made_by("table_2.pth") == ""


def test_a_file_that_was_to_be_downloaded_is_found_when_the_model_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in _PATCHED:
        monkeypatch.setattr(module, name, getattr(module, name))
    findings: list[str] = []
    refuse(findings)
    torch.hub.download_url_to_file("https://example.invalid/a.pth", str(tmp_path / "b.pth"))
    torch.hub.load_state_dict_from_url("https://example.invalid/c.pth", str(tmp_path))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["b.pth", "c.pth"]
    assert torch.load(tmp_path / "b.pth")["model"] == {}
    assert len(findings) == 3
