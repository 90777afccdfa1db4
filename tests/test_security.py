"""Every line of SECURITY.md, each by the test that it names."""

import json
import os
import pickle
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevdiag.cli.output import CHECK_FORMATS, renderer
from bevdiag.config import load_config
from bevdiag.config.load import MAX_LAYERS
from bevdiag.config.yaml_tree import MAX_ALIASES, MAX_BYTES, MAX_DEPTH, MAX_NODES
from bevdiag.errors import BevdiagError, ConfigError, InputError, NoVerdictError
from bevdiag.policy import read_policy
from bevdiag.prediction.checked import Check
from bevdiag.prediction.inspect import inspect
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import Prediction
from bevdiag.report.html.report_pages import inspect_page
from bevdiag.scenes import PointLayout, read_points

ROOT = Path(__file__).resolve().parents[1]
SOUND = (ROOT / "tests/rules/pointpillar.yaml").read_text(encoding="utf-8")

_PROGRAM = """
import json, os, sys
from bevdiag.cli.main import run
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
sound, out, *hostile = sys.argv[1:]
common = ["--device", "meta", "--no-remedies"]
run(["inspect", sound, *common, "-o", out])  # once, for what bevdiag itself imports and opens
events = []
sys.addaudithook(lambda event, args: events.append((event, [str(a)[:300] for a in args])))
codes = [run(["inspect", path, *common, "-o", out]) for path in (sound, *hostile)]
seen = list(events)
print(json.dumps({"codes": codes, "events": seen, "modules": list(sys.modules)}))
"""


@dataclass(frozen=True)
class Audit:
    """What happened while hostile configs were inspected."""

    folder: Path
    codes: list[int]
    events: list[tuple[str, list[str]]]
    modules: list[str]

    def of(self, *prefixes: str) -> list[tuple[str, list[str]]]:
        return [event for event in self.events if event[0].startswith(prefixes)]


_REFUSED = {
    "names.yaml": SOUND.replace("NAME: PillarVFE", "NAME: evil"),
    "dotted.yaml": SOUND.replace("NAME: PointPillar\n", "NAME: evil.main\n"),
    "tags.yaml": "MODEL: !!python/object/apply:os.system [touch evil]\n",
    "module.yaml": "MODEL: !!python/module:evil\n",
    "code.yaml": "MODEL: !!python/name:evil.main\n",
    "base.yaml": "_BASE_CONFIG_: http://127.0.0.1:9/base.yaml\n",
}


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    folder = tmp_path_factory.mktemp("security")
    (folder / "evil.py").write_text("raise SystemExit('imported')\n", encoding="utf-8")
    (folder / "evil.pth").write_bytes(pickle.dumps({"model_state": {}}))
    sound = SOUND.replace("DATASET: KittiDataset", "DATASET: evil.Dataset").replace(
        "  NAME: PointPillar\n",
        "  NAME: PointPillar\n  PRETRAINED: evil.pth\n  CKPT: evil.pth\n  CLASS: evil.main\n",
    )
    (folder / "sound.yaml").write_text(sound, encoding="utf-8")
    for name, text in _REFUSED.items():
        (folder / name).write_text(text, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-c", _PROGRAM, "sound.yaml", "out.txt", *_REFUSED],
        cwd=folder,
        env={"PYTHONPATH": f"{ROOT}:{folder}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return Audit(folder, **json.loads(result.stdout.splitlines()[-1]))


def test_every_line_names_its_test() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    promised = text.partition("## Reporting")[0].partition("## What a file cannot do")[2]
    lines = [line for part in promised.split("\n## ") for line in part.split("\n- ")[1:]]
    assert len(lines) > 15
    for line in lines:
        named = set(re.findall(r"`(test_\w+)`", line))
        assert named, line
        files = [Path(__file__), *(ROOT / name for name in re.findall(r"`(tests/\S+\.py)`", line))]
        there = "".join(file.read_text(encoding="utf-8") for file in files)
        assert named <= set(re.findall(r"^def (test_\w+)", there, re.MULTILINE)), line


def test_nothing_is_executed(audit: Audit) -> None:
    assert audit.codes == [0, 3, 3, 2, 2, 2, 2]  # 3: the unknown module leaves no verdict
    # A module of bevdiag's own may be met for the first time.
    own = f'file "{ROOT / "bevdiag"}/'
    assert not [args for _, args in audit.of("exec") if own not in args[0]]
    assert not audit.of("code.", "function.", "object.__reduce", "pickle.")
    # The driver is asked for the GPU at hand, by a name that no file chooses, and the C library
    # that is loaded already ("None") how it keeps memory.
    opened = [args for _, args in audit.of("ctypes.dlopen")]
    assert all(args in (["libnvidia-ml.so.1"], ["None"]) for args in opened)


def test_nothing_that_a_config_names_is_imported(audit: Audit) -> None:
    assert "evil" not in audit.modules
    assert not [args for _, args in audit.of("import") if "evil" in args[0]]


def test_no_checkpoint_is_opened(audit: Audit) -> None:
    assert not [args for _, args in audit.of("open") if "evil" in args[0]]


def test_the_network_is_left_alone(audit: Audit) -> None:
    assert not audit.of("socket.", "urllib.", "http.", "ftplib.", "ssl.")


def test_no_program_is_started(audit: Audit) -> None:
    assert not audit.of("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pty.")


def _opened(audit: Audit, *, to_write: bool) -> set[str]:
    """Files of others; bevdiag's own, Python's and descriptors that are open are left out."""
    own = (str(ROOT / "bevdiag"), sys.prefix, sys.base_prefix, "/proc/", "/sys/")
    return {
        args[0]
        for _, args in audit.of("open")
        if not args[0].startswith(own)
        and not args[0].isdigit()
        and Path(args[0]) != audit.folder  # a folder, whose entries reach the disk
        and bool(int(args[2]) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) == to_write
    }


def test_only_the_config_is_read(audit: Audit) -> None:
    assert _opened(audit, to_write=False) == {"sound.yaml", *_REFUSED}


def test_only_the_output_is_written(audit: Audit) -> None:
    written = _opened(audit, to_write=True)
    assert written
    for name in written:
        assert re.fullmatch(rf"{re.escape(str(audit.folder))}/\.bevdiag-[0-9a-f]{{24}}\.tmp", name)
    assert not list(audit.folder.glob(".bevdiag-*"))


def test_a_base_stays_in_the_repository(tmp_path: Path) -> None:
    (tmp_path / "repo/.git").mkdir(parents=True)
    (tmp_path / "outside.yaml").write_text(SOUND, encoding="utf-8")
    (tmp_path / "repo/link.yaml").symlink_to(tmp_path / "outside.yaml")
    for named in ("../outside.yaml", "link.yaml", str(tmp_path / "outside.yaml"), "/etc/passwd"):
        config = tmp_path / "repo/config.yaml"
        config.write_text(f"_BASE_CONFIG_: {named}\n", encoding="utf-8")
        with pytest.raises(ConfigError, match="lies outside"):
            load_config(config)


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("unpickled"),)


def test_a_pickle_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    objects = np.array([[_Evil()] * 4], dtype=object)
    np.save(tmp_path / "array.npy", objects, allow_pickle=True)
    (tmp_path / "plain.npy").write_bytes(pickle.dumps(_Evil()))
    np.savez(tmp_path / "several.npz", objects)
    (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    for name in ("array.npy", "plain.npy", "several.npy"):
        with pytest.raises(InputError, match=r"is no plain \.npy array"):
            read_points(
                tmp_path / name,
                PointLayout(features=("x", "y", "z", "i"), point_cloud_range=(0, 0, 0, 1, 1, 1)),
            )
    assert not (tmp_path / "unpickled").exists()


_NAMES = (
    r'"\e[2J\e]0;owned\a\u202Egnp.exe"',
    r'"::error file=x::owned"',
    r'"x\n::error file=x::owned\r::error::owned"',
    '"</script><script>owned()</script><img src=x onerror=owned()>"',
)


@pytest.fixture(scope="module")
def named_badly(tmp_path_factory: pytest.TempPathFactory) -> Prediction:
    """A report whose config, classes and keys have such names."""
    path = tmp_path_factory.mktemp("names") / "<script>owned()<b>\x1b[2J.yaml"
    keys = "".join(f"  {name}: 1\n" for name in _NAMES)
    text = SOUND.replace("CLASS_NAMES: [Car, Cyclist]", f"CLASS_NAMES: [{', '.join(_NAMES[:2])}]")
    text = text.replace("class_name: Car", f"class_name: {_NAMES[0]}")
    path.write_text(f"{text}{keys}", encoding="utf-8")
    options = InspectOptions(device="meta", remedies=False, blocks=True)
    report = inspect(path, options, lambda what, share: None)
    assert isinstance(report, Prediction)
    assert len(report.findings) >= len(_NAMES)
    return report


def _rendered(report: Prediction) -> dict[str, str]:
    check = Check(config=report.config, report=report)
    machines = [name for name in CHECK_FORMATS if name not in ("text", "json")]
    return {name: renderer(name)([check]) for name in machines}


def test_names_reach_no_terminal(named_badly: Prediction) -> None:
    from bevdiag.report.printable import Layout
    from bevdiag.report.text.inspect_report import write_inspect
    from bevdiag.report.text.prose import rendered

    texts = {
        **_rendered(named_badly),
        "text": rendered(Layout(), write_inspect, named_badly, depth=3),
    }
    for name, text in texts.items():
        hidden = {char for char in text if not char.isprintable() and char != "\n"}
        assert not hidden, (name, hidden)


def test_names_are_no_workflow_command(named_badly: Prediction) -> None:
    lines = _rendered(named_badly)["github"].splitlines()
    assert lines
    for line in lines:
        assert re.match(r"::(error|warning|notice) (file=|title=bevdiag)", line), line
        assert not line.startswith("::error file=x::")


def test_names_are_no_markup(named_badly: Prediction) -> None:
    page = inspect_page(named_badly)
    assert "<script>owned" not in page
    assert "<img src=x" not in page
    assert "owned()" in page


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("#" * (MAX_BYTES + 1), f"larger than {MAX_BYTES} bytes"),
        ("[" * (MAX_DEPTH + 1), f"nested deeper than {MAX_DEPTH} levels"),
        ("a: [" + "0, " * MAX_NODES, f"more than {MAX_NODES} values"),
        ("a: &a 1\nb: [" + "*a, " * (MAX_ALIASES + 1), f"more than {MAX_ALIASES} aliases"),
        (
            SOUND.replace("LAYER_NUMS: [1, 1]", "LAYER_NUMS: [1, 1000000000]"),
            f"expected at most {MAX_LAYERS} in the whole model",
        ),
        (SOUND.replace("[0.2, 0.2, 4]", "[1.0e-7, 0.2, 4]"), "fewer than 2^20"),
    ],
)
def test_what_a_config_may_hold_is_bounded(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BevdiagError) as refused:
        load_config(path)
    assert sentence in str(refused.value)


def test_a_python_config_runs_only_with_its_repository_and_in_the_child(tmp_path: Path) -> None:
    reader = tmp_path / "mmengine" / "config.py"
    reader.parent.mkdir()
    (reader.parent / "__init__.py").touch()
    reader.write_text(
        "import runpy\nclass Config:\n    fromfile = staticmethod(runpy.run_path)\n",
        encoding="utf-8",
    )
    config = tmp_path / "configs" / "detector.py"
    config.parent.mkdir()
    config.write_text(
        "import os\nraise RuntimeError(f'ran in process {os.getpid()}.')", encoding="utf-8"
    )
    for read in (load_config, lambda path: inspect(path, InspectOptions(), lambda *_: None)):
        with pytest.raises(ConfigError, match=r"is code: name its repository with --source"):
            read(config)
    with pytest.raises(NoVerdictError, match=r"ran in process \d+\.") as refusal:
        inspect(config, InspectOptions(source=str(tmp_path)), lambda *_: None)
    assert f"process {os.getpid()}." not in str(refusal.value)


def test_no_policy_names_code_to_run(tmp_path: Path) -> None:
    path = tmp_path / "bevdiag.toml"
    for text in ('source = "../OpenPCDet"', '[[config]]\nfiles = "*"\nsource = "."'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match="there is no setting of this name"):
            read_policy(path)
