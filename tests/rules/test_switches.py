import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from bevdiag.config import read_document
from bevdiag.memory.events import Phase
from bevdiag.memory.verdict import Verdict
from bevdiag.rules.switches import KeyRead, checkpoint_candidate, keys_read

from ..streams import make, mark, stream

RULES = Path(__file__).parent

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


@pytest.mark.parametrize(
    ("stack", "is_on", "named"),
    [
        ("backbone_3d.dsvt.stages", False, True),
        ("backbone_3d.dsvt.stages", True, False),
        ("backbone_3d.focal_encoder", False, False),
        ("backbone_2d.blocks", False, False),
    ],
)
def test_the_switch_of_dsvt_is_named_for_its_own_blocks(
    stack: str, is_on: bool, named: bool
) -> None:
    switch = ("MODEL", "BACKBONE_3D", "DSVT", "ues_checkpoint")
    document = read_document(RULES / "focal_dsvt.yaml").edited({switch: is_on})
    trace = SimpleNamespace(
        stream=stream(mark(1), make(100, f"{stack}.0"), mark(1, Phase.BACKWARD)),
        layers=(SimpleNamespace(name=stack, has_children=True),),
    )
    evidence = SimpleNamespace(
        document=document,
        trace=trace,
        verdict=Verdict.OVER,
        profile=SimpleNamespace(peak=SimpleNamespace(allocated_bytes=120)),
    )
    (finding,) = checkpoint_candidate(evidence)  # type: ignore[arg-type]
    assert ("MODEL.BACKBONE_3D.DSVT.ues_checkpoint: true" in finding.message) == named
