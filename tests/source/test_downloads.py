from pathlib import Path

import pytest
import torch
from torch import nn

from bevdiag.errors import NoVerdictError
from bevdiag.source.downloads import NoWeights, made_by
from bevdiag.trace import places


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
