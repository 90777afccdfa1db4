"""Every command that writes: a call of the system that fails, an output that is an input."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bevdiag.accuracy import calibration
from bevdiag.accuracy import validate as accuracy_run
from bevdiag.accuracy.calibration import GRID, Calibration
from bevdiag.accuracy.outcome import MeasuredOn, Validation
from bevdiag.cli.main import run
from bevdiag.files import writing
from bevdiag.files.known import forget
from bevdiag.files.shipped import shipped_file
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.profiles import read_profile
from bevdiag.prediction import preflight
from bevdiag.prediction.checked import Check, Job
from bevdiag.prediction.result import Scene
from bevdiag.remedies import fit
from bevdiag.remedies.results import FitReport

CONFIG = Path(__file__).resolve().parents[1] / "rules/pointpillar.yaml"
RECORD = '{"schema": "bevdiag.baseline/1", "configs": {}}'
MESSAGE = "CUDA out of memory. Tried to allocate 75.10 GiB. ..."
CALLS = ("lstat", "open", "write", "fchown", "fchmod", "fsync", "close", "replace")

TARGET = DeviceTarget(
    gpu=None,
    capacity_bytes=2**30,
    torch="2",
    cudnn=(9, 0, 0),
    compute_capability=(9, 0),
    multiprocessors=132,
)
SCENE = Scene(source="synthetic", batch_size=1, num_points=1, num_voxels=1, grid_size=(1, 1, 1))

WRITERS = {
    "check -o": ("check c.yaml -o old", "old"),
    "check --also": ("check c.yaml --also sarif=old", "old"),
    "inspect -o": ("inspect c.yaml --device meta -o old", "old"),
    "inspect --html": ("inspect c.yaml --device meta --html old", "old"),
    "inspect snapshot": ("inspect c.yaml --device meta --format memory-viz -o old", "old"),
    "compare -o": ("compare c.yaml --compression none -o old", "old"),
    "compare --html": ("compare c.yaml --compression none --html old", "old"),
    "fit -o": ("fit c.yaml --budget 1GiB -o old", "old"),
    "fix -o": ("fix c.yaml --budget 500GiB -o old", "old"),
    "fix --diff -o": ("fix wrong.yaml --budget 500GiB --diff -o old", "old"),
    "fix --write": ("fix wrong.yaml --budget 500GiB --write", "wrong.yaml"),
    "preflight -o": ("preflight c.yaml --budget 500GiB -o old", "old"),
    "preflight --also": ("preflight c.yaml --budget 500GiB --also junit=old", "old"),
    "baseline write": ("baseline write record c.yaml", "record"),
    "explain -o": ("explain --log train.log -o old", "old"),
    "doctor -o": ("doctor --requirements list.txt -o old", "old"),
    "validate -o": ("validate -o old", "old"),
    "calibrate -o": ("calibrate -o profile", "profile"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the commands name; what takes a GPU, minutes or other processes is skipped."""
    config = CONFIG.read_text(encoding="utf-8")
    files = {
        "c.yaml": config,
        "wrong.yaml": config.replace("NUM_BEV_FEATURES: 16", "NUM_BEV_FEATURES: 7"),
        "derived.yaml": "_BASE_CONFIG_: c.yaml\n",
        "old": "before",
        "record": RECORD,
        "train.log": MESSAGE,
        "list.txt": "torch==2.4.0\n",
        "policy.toml": "",
        ".git": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def checked(jobs: list[Job], progress: object) -> tuple[Check, ...]:
        return tuple(map(preflight._check, jobs))

    monkeypatch.setattr(preflight, "preflight", checked)
    shipped = shipped_file(GRID)
    assert shipped is not None
    profile = read_profile(shipped)
    (tmp_path / "profile").write_bytes(shipped.read_bytes())
    forget()  # the shipped profile is read here and by no command
    monkeypatch.setattr(calibration, "calibrate", lambda *_: Calibration(profile, left_out=0))
    fitted = FitReport(
        config="c.yaml", target=TARGET, scene=SCENE, knob="batch", unit="samples a step", now=1,
        largest=None, binds_until=None, points=(),
    )  # fmt: skip
    monkeypatch.setattr(fit, "fit", lambda *_: fitted)
    nothing = Validation(machine=MeasuredOn(), outcomes=())
    monkeypatch.setattr(accuracy_run, "validate", lambda *_: nothing)
    return tmp_path


class _FailingSystem:
    """Stands before `os`; the call of a number, counted from 1, finds the disk full."""

    def __init__(self, number: int) -> None:
        self._left = number

    def __getattr__(self, name: str) -> Any:
        plain = getattr(os, name)
        return self._counted(plain) if name in CALLS else plain

    def _counted(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                raise OSError(28, "No space left on device")
            return plain(*arguments, **named)

        return call


@pytest.mark.parametrize("name", WRITERS)
def test_a_failing_call_leaves_the_old_file(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command runs once; where it comes to write, every call of the system fails in turn."""
    arguments, written = WRITERS[name]
    before = (folder / written).read_bytes()
    beside = sorted(folder.iterdir())
    plain = writing._replace
    failed: list[int] = []

    def replace(path: Path, data: bytes) -> None:
        assert path == folder / written
        for number in range(1, 20):
            writing.os = _FailingSystem(number)  # type: ignore[attr-defined]
            try:
                plain(path, data)
            except OSError:
                failed.append(number)
                assert path.read_bytes() == before
                assert sorted(folder.iterdir()) == beside
            else:
                break
            finally:
                writing.os = os  # type: ignore[attr-defined]
        assert path.read_bytes() == data
        path.write_bytes(before)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "_replace", replace)
    assert run(arguments.split()) == 3
    assert len(failed) >= 7
    assert (folder / written).read_bytes() == before
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ")
    assert said.partition("; next: ")[0].endswith("cannot be written: No space left on device")


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ("check c.yaml -o c.yaml", "c.yaml"),
        ("check c.yaml -o ./c.yaml", "c.yaml"),
        ("check c.yaml --also sarif=c.yaml", "c.yaml"),
        ("check derived.yaml -o c.yaml", "c.yaml"),
        ("check derived.yaml -o link", "c.yaml"),
        ("check c.yaml -o hard", "c.yaml"),
        ("check c.yaml --policy policy.toml -o policy.toml", "policy.toml"),
        ("inspect c.yaml --device meta --html c.yaml", "c.yaml"),
        ("inspect derived.yaml --device meta --format memory-viz -o c.yaml", "c.yaml"),
        ("inspect c.yaml --device meta --points points.npy -o points.npy", "points.npy"),
        ("inspect c.yaml --device meta --profile profile.json -o profile.json", "profile.json"),
        ("compare c.yaml --html c.yaml", "c.yaml"),
        ("fix c.yaml --budget 1GiB -o c.yaml", "c.yaml"),
        ("fix c.yaml --budget 1GiB --write -o c.yaml", "c.yaml"),
        ("doctor --requirements list.txt -o list.txt", "list.txt"),
        ("explain --log train.log -o train.log", "train.log"),
        ("preflight c.yaml --baseline record -o record", "record"),
        ("preflight derived.yaml --budget 500GiB -o c.yaml", "c.yaml"),
        ("baseline write record c.yaml --policy record", "record"),
        ("baseline write c.yaml c.yaml", "c.yaml"),
    ],
)
def test_an_output_that_is_an_input_is_refused(
    arguments: str, kept: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "link").symlink_to("c.yaml")
    (folder / "hard").hardlink_to(folder / "c.yaml")
    np = pytest.importorskip("numpy")
    np.save(folder / "points.npy", np.ones((4, 4), np.float32))
    shipped = shipped_file(GRID)
    assert shipped is not None
    (folder / "profile.json").write_bytes(shipped.read_bytes())
    before = (folder / kept).read_bytes()
    assert run(arguments.split()) == 2
    assert (folder / kept).read_bytes() == before
    assert "error: " in capsys.readouterr().err or "preflight" in arguments


@pytest.mark.parametrize(
    "arguments",
    [
        "check c.yaml -o new --also sarif=new",
        "check c.yaml --also sarif=new --also junit=./new",
        "inspect c.yaml --device meta -o new --html new",
        "compare c.yaml -o new --html other/../new",
    ],
)
def test_one_output_named_twice_is_refused(
    arguments: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "other").mkdir()
    assert run(arguments.split()) == 2
    assert "name another file" in capsys.readouterr().err
    assert not (folder / "new").exists()


def test_two_records_at_once_lose_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first is traced, a second command records another config in the same file."""
    (folder / "d.yaml").write_bytes(CONFIG.read_bytes())
    plain = preflight.preflight

    def interrupted(jobs: list[Job], progress: Any) -> tuple[Check, ...]:
        monkeypatch.setattr(preflight, "preflight", plain)
        assert run(["baseline", "write", "record", "d.yaml"]) == 0
        return plain(jobs, progress)

    monkeypatch.setattr(preflight, "preflight", interrupted)
    assert run(["baseline", "write", "record", "c.yaml"]) == 0
    recorded = json.loads((folder / "record").read_text(encoding="utf-8"))["configs"]
    assert sorted(recorded) == ["c.yaml", "d.yaml"]
