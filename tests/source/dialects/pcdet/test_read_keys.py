"""Keys that a repository's code reads, and those that nobody does."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from bevdiag.source.dialects.pcdet import read_keys
from bevdiag.source.dialects.pcdet.read_keys import unread_in, watched
from bevdiag.source.dialects.protocol import Unread

CONFIG: dict[str, Any] = {
    "MODEL": {
        "NAME": "Student",
        "HEAD": {"NAME": "Center", "LOSS": {"WEIGHT": 2.0}, "MYSTERY": 1},
        "AUX_HEAD": {"NAME": "Center"},
        "LAYERS": [{"WIDTH": 4}, {"WIDTH": 8, "OTHER": 1}],
        "POST_PROCESSING": {"SCORE_THRESH": 0.1},
    },
    "MODEL_TEACHER": {"NAME": "Teacher"},
    "KD": {"ENABLED": True},
    "DATA_CONFIG": {"DATASET": "Kitti"},
}
_CODE = "cfg.NAME, cfg.LOSS.WEIGHT, cfg.WIDTH, cfg.OTHER, cfg.SCORE_THRESH, cfg.ENABLED, HEAD"


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(read_keys, "_read", set())
    return watched(CONFIG)


@pytest.fixture
def unread(tmp_path: Path) -> Any:
    (tmp_path / "model.py").write_text(
        f"{_CODE}, AUX_HEAD, LAYERS, POST_PROCESSING, MODEL, MODEL_TEACHER, KD, DATA_CONFIG, "
        "DATASET"
    )

    def ask(*overrides: str) -> dict[str, Unread]:
        return {entry.key: entry for entry in unread_in(CONFIG, tmp_path, overrides)}

    return ask


def test_a_section_of_the_model_that_nobody_read_is_a_part_that_is_missing(
    config: Any, unread: Any
) -> None:
    assert config.MODEL.HEAD.NAME == "Center"
    found = unread()
    assert {k for k, entry in found.items() if entry.is_section} == {
        "MODEL.AUX_HEAD",
        "MODEL_TEACHER",
        "KD",
    }
    assert "teacher" in found["MODEL_TEACHER"].message
    config.get("MODEL_TEACHER")
    config["KD"]
    assert "AUX_HEAD" in config.MODEL
    assert not any(entry.is_section for entry in unread().values())


def test_a_key_that_no_file_mentions_is_read_by_nobody(config: Any, unread: Any) -> None:
    assert "no file" in unread()["MODEL.HEAD.MYSTERY"].message
    assert "MODEL.POST_PROCESSING.SCORE_THRESH" not in unread()  # read, if not in training
    assert {**config.MODEL.HEAD}["MYSTERY"] == 1
    assert "MODEL.HEAD.MYSTERY" not in unread()


def test_an_override_in_the_model_has_to_be_read(config: Any, unread: Any) -> None:
    text = "MODEL.POST_PROCESSING.SCORE_THRESH=0.3"
    assert f"--set {text} has no effect" in unread(text)[text.partition("=")[0]].message
    width = "MODEL.LAYERS.1.WIDTH"
    assert width in unread(f"{width}=16")
    assert [layer.WIDTH for layer in config.MODEL.LAYERS] == [4, 8]
    assert width not in unread(f"{width}=16")


@pytest.mark.parametrize(
    "look",
    [
        lambda head: head.MYSTERY,
        lambda head: head.get("MYSTERY"),
        lambda head: hasattr(head, "MYSTERY"),
        lambda head: "MYSTERY" in head,
        lambda head: head.pop("MYSTERY"),
        lambda head: list(head),
        lambda head: list(head.items()),
        lambda head: list(head.values()),
        lambda head: dict(head),
        deepcopy,
    ],
)
def test_any_look_at_a_key_reads_it(config: Any, unread: Any, look: Any) -> None:
    look(config.MODEL.HEAD)
    assert "MODEL.HEAD.MYSTERY" not in unread()
