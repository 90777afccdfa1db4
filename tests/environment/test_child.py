import json
import subprocess
import sys
from pathlib import Path

from bevdiag.environment import child


def test_a_line_comes_after_each_stage(tmp_path: Path) -> None:
    """A failing stage is named with its error, and the next one is still tried."""
    (tmp_path / "cumm.py").write_text("raise RuntimeError('another NumPy')")
    (tmp_path / "spconv").mkdir()
    (tmp_path / "spconv" / "__init__.py").write_text("__version__ = '2.3'")
    (tmp_path / "spconv" / "pytorch.py").touch()
    ended = subprocess.run(
        [sys.executable, child.__file__, "cumm", "spconv"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert [json.loads(line) for line in ended.stdout.splitlines()] == [
        {"stage": "cumm", "error": "RuntimeError: another NumPy"},
        {"stage": "spconv", "facts": {"version": "2.3"}},
    ]
