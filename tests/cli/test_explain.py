"""`bevdiag explain` as a user runs it, without a config: none of this needs torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bevdiag.cli.main import run

MESSAGE = "CUDA out of memory. Tried to allocate 75.10 GiB. ..."


def test_a_message_is_decoded(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", MESSAGE]) == 0
    out = capsys.readouterr().out
    assert out.startswith("PyTorch's caching allocator refused 75.10 GiB.\n--config CONFIG names")
    assert "80,631,300,097 to 80,641,785,856 bytes" in " ".join(out.split())


def test_the_last_message_of_a_log_is_explained_and_ranks_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "train.log"
    log.write_text(
        "[rank0]: CUDA out of memory. Tried to allocate 20.00 MiB.\n"
        "[rank1]: CUDA out of memory. Tried to allocate 2.00 GiB.\n",
        encoding="utf-8",
    )
    assert run(["explain", "--log", str(log)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("PyTorch's caching allocator refused 2.00 GiB.")
    assert "rank 0      CUDA out of memory. Tried to allocate 20.00 MiB" in out


def test_stdin_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log").write_text(MESSAGE, encoding="utf-8")
    with (tmp_path / "log").open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert run(["explain", "--log", "-", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "bevdiag.explain/1"
    assert document["failure"]["kind"] == "allocator"
    assert document["failure"]["requested"]["text"] == "75.10 GiB"
    assert document["candidates"] == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "give either the message or --log FILE"),
        ([MESSAGE, "--log", "-"], "give either the message or --log FILE"),
        (["--log", "nowhere.log"], "nowhere.log cannot be read"),
        (["all is well"], "no message of a failure"),
        ([MESSAGE, "--gpu", "t4"], "--gpu: says which step the text is held against"),
        ([MESSAGE, "--set", "A.B=1"], "--set: says which step the text is held against"),
    ],
)
def test_bad_usage_is_one_sentence(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert reason in captured.err
    assert captured.err.count("\n") == 1


def test_decoding_imports_no_torch() -> None:
    program = (
        "import sys; from bevdiag.cli.main import run; "
        f"assert run(['explain', {MESSAGE!r}]) == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, capture_output=True)
