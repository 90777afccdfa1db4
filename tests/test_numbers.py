"""Numbers of a small config that no change to the code's shape may move."""

import json
from pathlib import Path

import numpy as np
import pytest

from bevdiag.cli.main import run

DATA = Path(__file__).parent / "data"
KNOWN = json.loads((DATA / "numbers.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    low, high = np.array([0, -4, -1]), np.array([8, 4, 1])
    path = tmp_path_factory.mktemp("points") / "cloud.npy"
    np.save(path, np.c_[rng.uniform(low, high, (600, 3)), rng.random(600)].astype(np.float32))
    return path


@pytest.mark.parametrize("case", KNOWN)
def test_the_numbers_stay(case: str, points: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = KNOWN[case]
    options = ["--device", "meta", "--gpu", "rtx3090", "--cudnn", "9.10", "--points", str(points)]
    plain = ["--format", "json", "--no-remedies"]
    run(["inspect", str(DATA / "small.yaml"), *options, *plain, *known["options"]])
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == known["verdict"]
    assert found["params"]["total"] == known["params"]
    assert {key: found["peak"][key] for key in known["peak"]} == known["peak"]
    assert found["first_step"]["peak_allocated_bytes"] == known["first_step_bytes"]
    phases = {name: item["peak_allocated_bytes"] for name, item in found["phases"].items()}
    assert phases == known["phases"]
    kept = {item["name"]: item["saved_bytes"] for item in found["layers"] if item["depth"] == 0}
    assert kept == known["kept_for_backward_bytes"]
