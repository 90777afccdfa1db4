"""Every command of README and of docs/ runs, and prints what the page shows below it."""

import doctest
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from bevdiag.cli.main import run
from bevdiag.memory import verdict
from bevdiag.memory.catalogue import all_gpus
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.step_source import ENDS_THAT_JUDGE
from bevdiag.remedies.sets import apply_set, plan_of
from bevdiag.report.amounts import format_bytes
from tests.documented import ROOT, Shown, all_commands

COMMANDS = all_commands()
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHIPPED = "bevdiag inspect configs/focalsst_dsvt.yaml --gpu a100-80gb --cudnn 9.1"
MESSAGE = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 MiB. GPU 0 has a total "
    "capacity of 23.53 GiB of which 1.00 MiB is free.\n"
)

NOT_RUN = {
    "make inspect": "installs",
    "make test": "runs all tests",
    "make install": "installs",
    "make fast": "runs tests",
    ".ci/run": "runs all tests",
    "pip install .": "installs",
    "pip install '.[torch]'": "installs",
    "bevdiag fix configs/focalsst_dsvt.yaml --gpu rtx4090 --diff": "searches for minutes",
    "bevdiag fit CONFIG --gpu rtx4090": "searches for a minute",
    "bevdiag fit CONFIG --gpu rtx4090 --what batch": "searches for a minute",
    "bevdiag calibrate -o my_gpu.json": "needs a GPU",
    "bevdiag calibrate CONFIG... --batch-size 1,2,4 --autocast off,fp16 -o my_gpu.json": (
        "needs a GPU"
    ),
    "bevdiag validate": "takes a minute: tests/accuracy predicts the same rows",
    "bevdiag validate --source ~/OpenPCDet": "needs OpenPCDet, and an hour",
    "bevdiag validate --rows FILE": "needs the GPU's rows of a reader",
    "bevdiag inspect CONFIG.py --source ~/mmdetection3d --gpu rtx4090": "needs mmdetection3d",
    (
        "bevdiag inspect CONFIG.py --source ~/mmdetection3d "
        "--cfg-options train_dataloader.batch_size=2"
    ): "needs mmdetection3d",
}
"""Why a command stands here: tests/test_docs.py holds that it and its options are there."""

QUICKER = {SHIPPED: ("--no-remedies",)}
"""What spares minutes of search; a test of its own holds the fix that README shows."""

ENDS_WITH_3 = (
    "bevdiag compare --compression max,learned,sparse_max --gpu a100-80gb",
    'bevdiag explain "CUDA out of memory. Tried to allocate 75.10 GiB. ..." --config CONFIG',
    "bevdiag inspect CONFIG.py --source ~/CenterPoint --gpu rtx4090",
    "bevdiag inspect CONFIG.py --source ~/CenterPoint --cfg-options data.samples_per_gpu=2",
)
"""No verdict on what the toys hold; the others end with a verdict, 0 or 1."""


class Ran(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a reader's folder: the shipped configs and two small ones, a log, a batch, a loop."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "configs", folder / "configs")
    (folder / "cfgs").mkdir()
    for name in ("second.yaml", "pointpillar.yaml"):
        shutil.copy(ROOT / "tests" / "rules" / name, folder / "cfgs")
    (folder / "tools").mkdir()
    for name in ("train.py", "tools/train.py"):
        (folder / name).write_text("")
    for name, toy in (("OpenPCDet", "repo"), ("CenterPoint", "det3d_repo")):
        shutil.copytree(
            ROOT / "tests" / "source" / toy,
            folder / name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    shutil.copy(
        folder / "configs" / "devices" / "h200-torch2.11-cudnn9.19.0.json", folder / "my_gpu.json"
    )
    (folder / "train.log").write_text(MESSAGE)
    (folder / "freeze.txt").write_text("python==3.10\ntorch==2.4.1\nnumpy==1.26.4\n")
    page = (ROOT / "docs" / "source.md").read_text(encoding="utf-8")
    (folder / "step.py").write_text(page.split("```python\n")[2].split("```")[0])
    random = np.random.default_rng(0)
    points = np.c_[np.repeat([0, 1], 200), random.random((400, 4))].astype(np.float32)
    np.savez(folder / "batch.npz", points=points, gt_boxes=np.ones((2, 3, 8)), batch_size=2)
    return folder


@pytest.fixture
def ran(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[[Shown], Ran]]:
    monkeypatch.chdir(folder)
    # Other tests' session judges few GPUs, for speed; people see all.
    monkeypatch.setattr(verdict, "all_gpus", all_gpus)
    for name in ("BEVDIAG_GPU", "BEVDIAG_BUDGET", "COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("CFG", "cfgs/second.yaml")
    log = (folder / "train.log").open()
    monkeypatch.setattr("sys.stdin", log)

    def once(shown: Shown) -> Ran:
        for name, value in shown.variables:
            monkeypatch.setenv(name, value)
        words = [*_words(shown.command), *QUICKER.get(shown.command, ())]
        key = (*words, *shown.variables)
        if key not in _RAN:
            code = run(words)
            _RAN[key] = Ran(code, *capfd.readouterr())
        return _RAN[key]

    yield once
    log.close()


_RAN: dict[tuple[object, ...], Ran] = {}


def _words(command: str) -> list[str]:
    """The words of the one call of bevdiag in a line of shell, its placeholders filled in."""
    source = "~/OpenPCDet" in command or "DIR" in command
    config = "OpenPCDet/tools/cfgs/models/one_stage.yaml" if source else "cfgs/second.yaml"
    filled = {"CONFIG": config, "CONFIG.py": "CenterPoint/configs/toy.py", "DIR": "OpenPCDet"}
    words = shlex.split(command)
    words = words[words.index("bevdiag") + 1 :]
    if "&&" in words:
        words = words[: words.index("&&")]
    return [os.path.expanduser(os.path.expandvars(filled.get(word, word))) for word in words]


@pytest.mark.parametrize(
    "shown", [shown for shown in COMMANDS if shown.command not in NOT_RUN], ids=str
)
def test_it_runs_and_prints_what_is_shown(shown: Shown, ran: Callable[[Shown], Ran]) -> None:
    ended = ran(shown)
    assert "internal error" not in ended.err
    assert ended.code in ((3,) if shown.command in ENDS_WITH_3 else (0, 1)), ended.err
    if shown.output:
        printed = ended.out
        # Then stdout is the command's, and stderr has a line for each phase too.
        if " -- " in shown.command:
            printed += re.sub(r"^\[\d+ s\].*\n", "", ended.err, flags=re.MULTILINE)
        if shown.command in QUICKER:
            printed = _shown_fix_added(printed, shown)
        if os.environ.get("BEVDIAG_WRITE_SHOWN") and "...\n" not in shown.output:
            page = ROOT / shown.page
            text = page.read_text(encoding="utf-8").replace(shown.output, printed)
            page.write_text(text, encoding="utf-8")
            return
        said = doctest.OutputChecker().output_difference(
            doctest.Example("", shown.output), printed, doctest.ELLIPSIS | doctest.REPORT_NDIFF
        )
        assert doctest.OutputChecker().check_output(shown.output, printed, doctest.ELLIPSIS), said


def _shown_fix_added(printed: str, shown: Shown) -> str:
    """What was printed without a search, with the fix and the command for it that are shown."""
    fix = shown.output.index("Fix ─")
    rest = shown.output.index("Next ─")
    command = next(
        line for line in shown.output.splitlines(keepends=True) if "$ bevdiag fix" in line
    )
    heading, next_commands = printed[: printed.index("Next ─")], printed[printed.index("Next ─") :]
    first = next_commands.index("\n") + 1
    return (
        heading + shown.output[fix:rest] + next_commands[:first] + command + next_commands[first:]
    )


def test_what_is_not_run_is_still_shown_and_what_ends_without_a_verdict_too() -> None:
    shown = {shown.command for shown in COMMANDS}
    assert shown >= {*NOT_RUN, *ENDS_WITH_3, *QUICKER}


def test_what_is_not_run_is_there() -> None:
    """Of make its targets, of pip the extras, of scripts the files; bevdiag's: test_docs.py."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for command in NOT_RUN:
        first, *rest = shlex.split(command)
        if first == "make":
            assert all(f"\n{target}:" in makefile for target in rest), command
        elif first == "pip":
            extras = re.findall(r"\[(\w+)\]", command)
            assert all(f"\n{extra} = [" in project for extra in extras), command
        elif first != "bevdiag":
            assert os.access(ROOT / first, os.X_OK), command


def test_the_fix_of_the_first_report() -> None:
    options = InspectOptions(device="meta", gpu="a100-80gb", cudnn="9.1", remedies=False)
    source = BuiltIn.read(ROOT / "configs" / "focalsst_dsvt.yaml", options)
    changed, (change,) = apply_set(source, ["dsvt-height-stages"])
    plan = plan_of(changed, changed.record(ENDS_THAT_JUDGE), changed.target())
    words = (
        f"fits, a peak of {format_bytes(plan.peak_allocated_bytes or 0)}, at most "
        f"{format_bytes(plan.high_bytes or 0)}"
    )
    assert plan.fits
    assert f"  {change.id}: {words}\n" in README
    assert f"loses    {change.loses}" in README
