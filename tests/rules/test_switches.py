import re
from pathlib import Path

import pytest

from bevdiag.rules.switches import KeyRead, keys_read

WANTED = re.compile("ckpt", re.IGNORECASE)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cfg.get('CKPT', False)", KeyRead("CKPT", "", True)),
        ("self.model_cfg.get('use_ckpt', None)", KeyRead("use_ckpt", "", False)),
        ("config['A']['CKPT']", KeyRead("CKPT", "", False)),
        ("x = cfg.MODEL.CKPT", KeyRead("CKPT", "", False)),
        ("class A:\n    def f(self, cfg):\n        return cfg.CKPT", KeyRead("CKPT", "A", False)),
    ],
)
def test_every_way_to_read_a_key(tmp_path: Path, text: str, found: KeyRead) -> None:
    (tmp_path / "code.py").write_text(text)
    assert keys_read(tmp_path, WANTED) == (found,)


@pytest.mark.parametrize(
    "text",
    [
        "args.ckpt",
        "state['ckpt']",
        "cfg.CKPT = 1",
        "# cfg.CKPT",
        "'cfg.CKPT'",
        "cfg.get(ckpt)",
        "cfg.CKPT(",
    ],
)
def test_what_reads_no_key_of_a_config(tmp_path: Path, text: str) -> None:
    (tmp_path / "code.py").write_text(text)
    assert keys_read(tmp_path, WANTED) == ()


def test_nothing_is_run(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("raise SystemExit(cfg.CKPT)")
    (tmp_path / "binary.py").write_bytes(b"\xff\xfeckpt")
    assert keys_read(tmp_path, WANTED) == (KeyRead("CKPT", "", False),)
