"""Every command says the same of the same config: verdict, peak, upper end, recommended plan."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevdiag.cli.main import run
from bevdiag.remedies import search, sets
from bevdiag.remedies.moves import moves

from .small_model import _few_gpus  # noqa: F401

SMALL = Path(__file__).parent / "data" / "small.yaml"
FEW = {"compression-sparse_max", "dsvt-checkpoint", "focal-topk"}
_DECLARED = "NUM_BEV_FEATURES: "
CASES = {"over": ("880MiB", ""), "fits": ("1GiB", ""), "misdeclared": ("880MiB", "9999")}
"""By name, a budget and, if any, the channels that the config declares instead of its own."""


@pytest.fixture(scope="module", autouse=True)
def _few_changes() -> Iterator[None]:
    def few(*args: Any) -> Any:
        return (candidate for candidate in moves(*args) if candidate.id in FEW)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "moves", few)
        patch.setattr(sets, "moves", few)
        for name in ("GPU", "BUDGET", "MARGIN", "TORCH", "CUDNN"):
            patch.delenv(f"BEVDIAG_{name}", raising=False)
        yield


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    low, high = np.array([0, -4, -1]), np.array([8, 4, 1])
    path = tmp_path_factory.mktemp("points") / "cloud.npy"
    np.save(path, np.c_[rng.uniform(low, high, (600, 3)), rng.random(600)].astype(np.float32))
    return path


def _config(folder: Path, declared: str) -> Path:
    path = folder / "model.yaml"
    lines = SMALL.read_text(encoding="utf-8").splitlines()
    if declared:
        lines = [
            line.partition(_DECLARED)[0] + _DECLARED + declared if _DECLARED in line else line
            for line in lines
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("case", CASES)
def test_no_two_commands_contradict_each_other(
    case: str, points: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    budget, declared = CASES[case]
    config = str(_config(tmp_path, declared))
    shared = [config, "--budget", budget, "--points", str(points), "--format", "json"]

    def asked(command: str, *more: str) -> Any:
        run([command, *shared, *more])
        return json.loads(capsys.readouterr().out)

    inspected = asked("inspect", "--device", "meta")
    (checked,) = asked("preflight")["checks"]
    fixed = asked("fix")
    compared = asked("compare", "--compression", "none")["variants"]
    fitted = asked("fit", "--what", "batch")
    peak = inspected["peak"]
    report = checked["report"]
    assert report["verdict"] == inspected["verdict"]
    assert report["peak"] == peak
    assert report["target"] == inspected["target"] == fixed["target"]
    base = fixed["base"]
    assert base["verdict"] == inspected["verdict"]
    assert base["peak_allocated_bytes"] == peak["allocated_bytes"]
    assert base["high_bytes"] == peak["high_bytes"]
    assert base["reserved_bytes"] == peak["reserved_bytes"]
    (row,) = (row for row in compared if row["bev_channels"] == inspected["bev_channels"])
    assert row["verdict"] == inspected["verdict"]
    assert row["peak_allocated_bytes"] == peak["allocated_bytes"]
    assert row["high_bytes"] == peak["high_bytes"]
    one = next(point for point in fitted["points"] if point["value"] == 1)
    assert one["verdict"] == inspected["verdict"]
    assert one["high_bytes"] == peak["high_bytes"]
    if case == "fits":
        assert inspected["recommended"] is None
        assert inspected["remedies"] == []
    else:
        assert inspected["recommended"] is not None
        assert fixed["recommended"] == inspected["recommended"]
