import json
from pathlib import Path

import numpy as np
import pytest

from bevdiag.cli.main import run

SMALL = Path(__file__).parents[1] / "data" / "small.yaml"


@pytest.fixture
def clouds(tmp_path: Path) -> Path:
    folder = tmp_path / "clouds"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        points = rng.uniform((0, -4, -1, 0), (8, 4, 1, 1), (400 + 100 * number, 4))
        np.save(folder / f"{number}.npy", points.astype(np.float32))
    return folder


def test_a_folder_is_measured_and_its_scene_inspected(
    clouds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = tmp_path / "mine.json"
    assert run(["scene", "measure", str(clouds), "--config", str(SMALL), "-o", str(scene)]) == 0
    assert "3 frames counted" in capsys.readouterr().err
    document = json.loads(scene.read_text())
    assert document["schema"] == "bevdiag.scene/1"
    assert document["points"]["median"] == 500

    assert run(["inspect", str(SMALL), "--scene", str(scene), "--format", "json"]) in (0, 1)
    report = json.loads(capsys.readouterr().out)
    assert "mine.json" in report["scene"]["source"]
    assert report["assumptions"][0]["site"] == "scene"
    assert report["peak"]["low_bytes"] < report["peak"]["high_bytes"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["scene", "measure", "none.npy"], "none.npy"),
        (["scene"], "error: Missing command; see bevdiag scene --help"),
        (["inspect", str(SMALL), "--scene", "none.json"], "none.json cannot be read"),
        (["inspect", str(SMALL), "--scene", "a.json", "--points", "a.npy"], "--scene: describes"),
        (["scene", "measure", str(SMALL)], "unknown point file type"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    given: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(given) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


def test_a_cloud_outside_the_range_names_the_option(
    clouds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    far = np.full((50, 4), 900.0, np.float32)
    np.save(clouds / "far.npy", far)
    assert run(["scene", "measure", str(clouds / "far.npy")]) == 2
    assert "--config" in capsys.readouterr().err
