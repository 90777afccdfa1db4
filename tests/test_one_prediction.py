"""Every command says the same of a config: verdict, peak, upper end, recommended plan."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevdiag.api import predict
from bevdiag.cli.main import run
from bevdiag.remedies import fit, search, sets
from bevdiag.rules.checks import fixes_of

from .small_model import _few_gpus  # noqa: F401

SMALL = Path(__file__).parent / "data" / "small.yaml"
FEW = {"compression-sparse_max", "dsvt-checkpoint", "focal-topk", "use-amp"}
REPOSITORY = Path(__file__).parent / "source" / "repo"
_DECLARED = "NUM_BEV_FEATURES: "
CASES = {
    "over": ("1030MiB", ""),
    "fits": ("1174MiB", ""),
    "misdeclared": ("1030MiB", "9999"),
    "source": ("860MiB", ""),
}
"""By name, a budget and, if any, the channels that the config declares instead of its own."""


@pytest.fixture(scope="module", autouse=True)
def _few_changes() -> Iterator[None]:
    def few(*args: Any) -> Any:
        return (candidate for candidate in fixes_of(*args) if candidate.id in FEW)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "fixes_of", few)
        patch.setattr(sets, "fixes_of", few)
        for name in ("GPU", "BUDGET", "MARGIN"):
            patch.delenv(f"BEVDIAG_{name}", raising=False)
        # So small a step fits by less than is in doubt where nobody measured the context.
        patch.setenv("BEVDIAG_TORCH", "2.11")
        patch.setenv("BEVDIAG_CUDNN", "9.19")
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


def _of_a_repository(folder: Path) -> list[str]:
    """A toy repository whose training script reads USE_AMP, and a config of it."""
    root = Path(shutil.copytree(REPOSITORY, folder / "repository"))
    (root / "tools" / "train.py").write_text("amp = cfg.OPTIMIZATION.get('USE_AMP', False)\n")
    return [str(root / "tools" / "cfgs" / "models" / "one_stage.yaml"), "--source", str(root)]


@pytest.mark.parametrize("case", CASES)
def test_no_two_commands_contradict_each_other(
    case: str, points: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    budget, declared = CASES[case]
    is_source = case == "source"
    given = _of_a_repository(tmp_path) if is_source else [str(_config(tmp_path, declared))]
    # So few points leave autocast nothing to save in so small a model: it gets a synthetic scene.
    scene = [] if is_source else ["--points", str(points)]
    shared = [*given, "--gpu", "h200", "--budget", budget, *scene, "--format", "json"]

    def asked(command: str, *more: str) -> Any:
        run([command, *shared, *more])
        return json.loads(capsys.readouterr().out)

    inspected = asked("inspect", *([] if is_source else ["--device", "meta"]))
    (checked,) = asked("preflight")["checks"]
    fixed = asked("fix")
    unchanged = [] if is_source else ["--compression", "none"]
    compared = asked("compare", *unchanged)["variants"]
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
    file = tmp_path / "baseline.json"
    run(["baseline", "write", str(file), *shared[:-2]])
    (entry,) = json.loads(file.read_text(encoding="utf-8"))["configs"].values()
    assert entry["peak_allocated_bytes"] == peak["allocated_bytes"]
    assert entry["high_reserved_bytes"] == peak["high_reserved_bytes"] >= peak["high_bytes"]
    predicted = predict(
        given[0],
        gpu="h200",
        budget=budget,
        points=[] if is_source else [points],
        source=given[2] if is_source else None,
    )
    assert predicted.verdict == inspected["verdict"]
    assert json.loads(predicted.to_json())["peak"] == peak
    if inspected["oom"] is not None:
        message = inspected["oom"]["message"]
        capsys.readouterr()
        run(["explain", message, "--config", *given, *scene, "--format", "json"])
        first = json.loads(capsys.readouterr().out)["candidates"][0]
        assert first["module"] == inspected["oom"]["module"]
        assert first["requested_bytes"] == inspected["oom"]["requested_bytes"]
    size = inspected["scene"]["batch_size"]
    one = next(point for point in fitted["points"] if point["value"] == size)
    assert one["verdict"] == inspected["verdict"]
    assert one["high_bytes"] == peak["high_bytes"]
    if case == "fits":
        assert inspected["recommended"] is None
        assert inspected["remedies"] == []
    else:
        assert inspected["recommended"]["ids"]
        assert inspected["recommended"]["edits"]
        assert fixed["recommended"] == inspected["recommended"]
        assert [plan["id"] for plan in inspected["remedies"]] == [
            plan["id"] for plan in (*fixed["singles"], *fixed["combined"])
        ]
        needs = {fix["id"]: fix["needs"] for plan in fixed["singles"] for fix in plan["changes"]}
        assert needs == {
            fix["id"]: fix["needs"] for plan in inspected["remedies"] for fix in plan["changes"]
        }


def test_an_evaluation_is_judged_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "_MOST_SAMPLES", 2)
    shared = [
        *(*_of_a_repository(tmp_path), "--set", "MODEL.NAME=Asking", "--set", "MODEL.WAY=plain"),
        *("--step", "eval", "--budget", "1GiB", "--format", "json"),
    ]

    def asked(command: str) -> Any:
        assert run([command, *shared]) == 0
        return json.loads(capsys.readouterr().out)

    inspected, fixed, fitted = asked("inspect"), asked("fix"), asked("fit")
    assert set(inspected["phases"]) == {"forward"}
    assert fixed["base"]["verdict"] == inspected["verdict"] == "fits"
    assert fixed["base"]["high_bytes"] == inspected["peak"]["high_bytes"]
    size = inspected["scene"]["batch_size"]
    point = next(point for point in fitted["points"] if point["value"] == size)
    assert point["high_bytes"] == inspected["peak"]["high_bytes"]
    assert fitted["largest"] >= size
