"""Scripts that write a row's clouds, or do not."""

from pathlib import Path

import pytest

from bevdiag.accuracy import clouds
from bevdiag.accuracy.clouds import CloudOrder, Scripted
from bevdiag.accuracy.outcome import MeasuredRow
from bevdiag.errors import InputError


def order(folder: Path) -> CloudOrder:
    row = MeasuredRow(
        name="one",
        config=None,
        scene="lidar",
        points_per_sample=10,
        batch_size=1,
        autocast="off",
        compression=None,
        overrides=(),
        pins={},
        first_step_bytes=None,
        cudnn=None,
        params=1,
        peak_allocated_bytes=1,
        max_reserved_bytes=1,
    )
    return CloudOrder(row, folder, (0.0, 0.0, 0.0, 1.0, 1.0, 1.0), 4)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; sys.exit('no such scene')", "failed: no such scene"),
        ("import os; os.kill(os.getpid(), 11)", "failed: died of SIGSEGV"),
        ("import os; os._exit(4)", "failed: ended with exit code 4"),
        ("import time; time.sleep(60)", r"did not end within 0\.5 s"),
    ],
)
def test_a_script_that_fails_is_one_sentence(
    program: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "sleep" in program:
        monkeypatch.setattr(clouds, "SCRIPT_SECONDS", 0.5)
    script = tmp_path / "scenes.py"
    script.write_text(program, encoding="utf-8")
    with pytest.raises(InputError, match=rf"scenes\.py {said}$"):
        Scripted(script)(order(tmp_path))


def test_a_missing_script(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="which is missing"):
        Scripted(tmp_path / "scenes.py")(order(tmp_path))


def test_a_script_is_told_what_to_write(tmp_path: Path) -> None:
    script = tmp_path / "scenes.py"
    script.write_text("import sys; open(sys.argv[2] + 'told', 'w').write(' '.join(sys.argv[3:]))")
    Scripted(script)(order(tmp_path))
    assert (tmp_path / "onetold").read_text() == (
        "--pcr 0.0 0.0 0.0 1.0 1.0 1.0 --features 4 --points 10 --batch 1"
    )
