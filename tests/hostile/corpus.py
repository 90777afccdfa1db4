"""Configs that mean harm: texts as a whole, and a sound config with a single hostile value."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from bevdiag.config import read_document, tree

SOUND = Path(__file__).resolve().parents[1] / "rules" / "second.yaml"
MEGABYTE = 2**20


def _laughs(levels: int) -> str:
    lines = ["a0: &a0 [lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


def _merges(levels: int) -> str:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], k{n}: 1}}" for n in range(1, levels)]
    return "\n".join(lines)


TEXTS: Mapping[str, bytes] = {
    # Bytes that are no text.
    "empty": b"",
    "one zero byte": b"\0",
    "zero bytes": b"\0" * 1000,
    "all bytes": bytes(range(256)),
    "an executable": b"\x7fELF\x02\x01\x01" + b"\0" * 60,
    "a zip": b"PK\x03\x04" + b"\0" * 60,
    "gzip": b"\x1f\x8b\x08" + b"\xff" * 60,
    "a pickle": b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system",
    "utf-16": "MODEL: {}".encode("utf-16"),
    "utf-32": "MODEL: {}".encode("utf-32"),
    "cut utf-8": "MODEL: \u00e9".encode()[:-1],
    "overlong utf-8": b"MODEL: \xc0\xaf",
    "a surrogate": b"MODEL: \xed\xa0\x80",
    "beyond unicode": b"MODEL: \xf7\xbf\xbf\xbf",
    "a byte order mark alone": b"\xef\xbb\xbf",
    "two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbfMODEL: {}",
    "escape": b"MODEL: \x1b[2J",
    "bell": b"\x07",
    "delete": b"MODEL: \x7f",
    "C1 control": "MODEL: \u009b2J".encode(),
    # Text that is no YAML, or no mapping.
    "a word": b"MODEL",
    "a number": b"1",
    "a list": b"- MODEL",
    "null": b"~",
    "a tab": b"MODEL:\t\n\t- x",
    "open quote": b'MODEL: "',
    "open list": b"MODEL: [",
    "open mapping": b"{MODEL: {",
    "closing brackets": b"]]]]}}}}",
    "colons": b": : : :",
    "a question": b"? ? ?",
    "dashes": b"- - - - -",
    "two documents": b"MODEL: 1\n---\nMODEL: 2\n",
    "many documents": b"---\n" * 1000,
    "document ends": b"...\n" * 1000,
    "percent": b"%",
    "a directive": b"%YAML 9.9\n---\nMODEL: 1",
    "a tag directive": b"%TAG ! tag:yaml.org,2002:python/\n---\nMODEL: !name:os.system x",
    "bad indentation": b"MODEL:\n   NAME: x\n  VFE: y",
    "an alias of nothing": b"MODEL: *x",
    "an alias of itself": b"MODEL: &x [*x]",
    "a mapping of itself": b"&x MODEL: *x",
    "a merge with itself": b"MODEL: &x {<<: *x}",
    "a merge with a word": b"MODEL: {<<: x}",
    "a list as a key": b"[a, b]: c",
    "a mapping as a key": b"{a: b}: c",
    "html": b"<html><script>alert(1)</script></html>",
    "json": b'{"MODEL": {"NAME": "CenterPoint"',
    "python": b"import os; os.system('true')",
    "a workflow command": b"::error file=x::y",
    "bad escape": b'MODEL: "\\q"',
    "half a character": b'MODEL: "\\ud800"',
    "a key without its colon": b"MODEL\nNAME: x",
    # Tags.
    **{
        f"the tag {tag}": f"MODEL: {tag} x".encode()
        for tag in (
            "!!python/object/apply:os.system",
            "!!python/name:os.system",
            "!!python/module:os",
            "!!python/object/new:os.system",
            "!!binary",
            "!!set",
            "!!omap",
            "!local",
            "!<tag:example.org,2000:x>",
            "!",
            "!!int",
            "!!float",
            "!!bool",
            "!!map",
            "!" + "a" * 5000,
        )
    },
    # Too much of something.
    "deep lists": b"MODEL: " + b"[" * 100_000,
    "deep mappings": b"{a: " * 50_000,
    "deep blocks": b"\n".join(b" " * n + b"a:" for n in range(500)),
    "deep dashes": b"- " * 100_000,
    "laughs": _laughs(12).encode(),
    "many merges": _merges(40).encode(),
    "many aliases": b"a: &a 1\nb: [" + b"*a, " * 10_000 + b"]",
    "many anchors": b"\n".join(b"k%d: &a%d 1" % (n, n) for n in range(20_000)),
    "many keys": b"\n".join(b"k%d: 1" % n for n in range(50_000)),
    "one key, often": b"a: 1\n" * 50_000,
    "many values": b"a: [" + b"1, " * 50_000 + b"]",
    "a long key": b"a" * 5000 + b": 1",
    "a long key, asked for": b"? " + b"a" * 100_000 + b"\n: 1",
    "a long text": b"MODEL: " + b"a" * 100_000,
    "a long quote": b'MODEL: "' + b"\\n" * 100_000 + b'"',
    "a long block": b"MODEL: |\n" + b" a\n" * 100_000,
    "a long anchor": b"MODEL: &" + b"a" * 100_000 + b" 1",
    "a long alias": b"MODEL: *" + b"a" * 100_000,
    "a long number": b"MODEL: " + b"9" * 100_000,
    "a long number with a dot": b"MODEL: " + b"9" * 1000 + b".5",
    "a number with an exponent": b"MODEL: 1e999999999",
    "base 60": b"MODEL: " + b"59:" * 1000 + b"59",
    "underscores": b"MODEL: 1" + b"_" * 1000 + b"0",
    "binary digits": b"MODEL: 0b" + b"1" * 1000,
    "comments": b"# x\n" * (MEGABYTE // 4),
    "comments that silence": b"A: 1\n" + b"# bevdiag: ignore[BEV203] x\n" * 30_000,
    "white space": b" " * MEGABYTE,
    "lines": b"\n" * MEGABYTE,
    "a million apostrophes": b"a: '" + b"''" * (MEGABYTE // 2 - 10) + b"'",
    "a megabyte and a byte": b"#" * (MEGABYTE + 1),
    "ten megabytes of keys": b"\n".join(b"k%d: 1" % n for n in range(1_000_000)),
    "ten megabytes of brackets": b"[" * (10 * MEGABYTE),
    # Bases.
    "a base that is itself": b"_BASE_CONFIG_: config.yaml",
    "a base that is not there": b"_BASE_CONFIG_: none.yaml",
    "a base outside": b"_BASE_CONFIG_: /etc/hostname",
    "a base above everything": b"_BASE_CONFIG_: " + b"../" * 50 + b"etc/hostname",
    "a base that is a folder": b"_BASE_CONFIG_: .",
    "a base that is a device": b"_BASE_CONFIG_: /dev/zero",
    "a base that is a list": b"_BASE_CONFIG_: [a]",
    "a base with a zero byte": b'_BASE_CONFIG_: "a\\0b"',
    "a base with a long name": b"_BASE_CONFIG_: " + b"a" * 1000,
    "a base on the network": b"_BASE_CONFIG_: https://example.org/base.yaml",
    "a thousand bases": b"\n".join(b"k%d: {_BASE_CONFIG_: none.yaml}" % n for n in range(1000)),
}

_VALUES: Mapping[str, Any] = {
    "zero": 0,
    "minus one": -1,
    "true": True,
    "null": None,
    "text": "sixteen",
    "markup": "<script>alert(1)</script>",
    "control characters": "\x1b[2J\x07\r\u202e",
    "a workflow command": "x\n::error::y",
    "nothing in a list": [],
    "a mapping": {"a": 1},
    "NaN": float("nan"),
    "infinity": float("inf"),
    "2**31": 2**31,
    "2**63": 2**63,
    "1e308": 1e308,
}

_VOXELIZER = "DATA_CONFIG.DATA_PROCESSOR.transform_points_to_voxels"
_PLACES = (
    "CLASS_NAMES",
    "DATA_CONFIG.POINT_CLOUD_RANGE",
    f"{_VOXELIZER}.VOXEL_SIZE",
    f"{_VOXELIZER}.MAX_NUMBER_OF_VOXELS",
    "MODEL.NAME",
    "MODEL.BACKBONE_3D.NAME",
    "MODEL.BACKBONE_2D.NUM_FILTERS",
    "MODEL.DENSE_HEAD.CLASS_NAMES_EACH_HEAD",
    "MODEL.DENSE_HEAD.TARGET_ASSIGNER_CONFIG.FEATURE_MAP_STRIDE",
    "OPTIMIZATION.BATCH_SIZE_PER_GPU",
    "OPTIMIZATION.LR",
)

_ALTERED: Mapping[str, tuple[str, Any]] = {
    "a swapped range": ("DATA_CONFIG.POINT_CLOUD_RANGE", [6.4, 3.2, 1, 0, -3.2, -3]),
    "an empty range": ("DATA_CONFIG.POINT_CLOUD_RANGE", [0, 0, 0, 0, 0, 0]),
    "a range of the universe": ("DATA_CONFIG.POINT_CLOUD_RANGE", [-1e300] * 3 + [1e300] * 3),
    "2^69 cells": ("DATA_CONFIG.POINT_CLOUD_RANGE", [0, 0, 0] + [2**23 / 10] * 3),
    "voxels of nothing": (f"{_VOXELIZER}.VOXEL_SIZE", [1e-300, 0.1, 0.1]),
    "negative voxels": (f"{_VOXELIZER}.VOXEL_SIZE", [-0.1, 0.1, 0.1]),
    "a billion layers": ("MODEL.BACKBONE_2D.LAYER_NUMS", [10**9, 10**9]),
    "many levels": ("MODEL.BACKBONE_2D.LAYER_NUMS", [1] * 5000),
    "a billion samples": ("OPTIMIZATION.BATCH_SIZE_PER_GPU", 10**9),
    "a thousand features": (
        "DATA_CONFIG.POINT_FEATURE_ENCODING.used_feature_list",
        ["x", "y", "z", *(f"f{n}" for n in range(5000))],
    ),
    "deep branches": (
        "MODEL.DENSE_HEAD.SEPARATE_HEAD_CFG.HEAD_DICT.center",
        {"out_channels": 2, "num_conv": 10**9},
    ),
    "no branches": ("MODEL.DENSE_HEAD.SEPARATE_HEAD_CFG.HEAD_ORDER", []),
    "many classes": ("CLASS_NAMES", [f"c{n}" for n in range(5000)]),
    "a class twice": ("CLASS_NAMES", ["Car", "Car", "Cyclist"]),
}


def altered_configs() -> Iterator[tuple[str, bytes]]:
    """The sound config with one value replaced, by what was done to it."""
    for place in _PLACES:
        for name, value in _VALUES.items():
            if (place, name) not in _HARMLESS:
                yield f"{place} is {name}", altered(place, value)
    for name, (place, value) in _ALTERED.items():
        yield name, altered(place, value)


_HARMLESS = {
    # A learning rate may be as large as one likes, and a cap is no size.
    ("OPTIMIZATION.LR", "2**31"),
    ("OPTIMIZATION.LR", "2**63"),
    ("OPTIMIZATION.LR", "1e308"),
}


def altered(place: str, value: Any, sound: Path = SOUND) -> bytes:
    """A sound config's text with the value at `place` replaced."""
    return altered_at({place: value}, sound)


def altered_at(values: Mapping[str, Any], sound: Path = SOUND) -> bytes:
    """A sound config's text with the value at each place replaced."""
    document = read_document(sound)
    root = document.root
    for place, value in values.items():
        new = tree.located(value, tree.descend(document.root, place.split("."))[0].location)
        root = tree.with_node(root, tuple(place.split(".")), new)
    return yaml.safe_dump(_lists(tree.plain(root)), sort_keys=False).encode()


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, tuple) else value
