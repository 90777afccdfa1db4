from pathlib import Path

import pytest

from bevdiag.config.entry import read_entry
from bevdiag.errors import BevdiagError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("step.py", "names no function: write it as FILE.py:function"),
        ("step.txt:make", "names no function"),
        ("none.py:make", "cannot be read"),
        ("step.py:mke", "defines no function mke; did you mean 'make'?"),
        ("step.py:two", r"step.py:7: two asks for a, b: it gets the path of the config or nothing"),
    ],
)
def test_a_name_that_is_none_is_refused_before_anything_runs(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    body = "raise SystemExit\n\n\ndef make(): ...\n\n\ndef two(a, b, c=1): ...\n"
    (tmp_path / "step.py").write_text(body)
    with pytest.raises(BevdiagError, match=said):
        read_entry(text)
