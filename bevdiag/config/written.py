"""Values of a document as they are written, of the kind that is asked for or not at all.

For looking at a config that may make no sense: nothing here raises.
"""

from typing import Any

from bevdiag.config.data import voxelizer_path
from bevdiag.config.document import Document
from bevdiag.config.tree import dotted
from bevdiag.errors import ConfigError

Triple = tuple[int, int, int]


def text(document: Document, key: str) -> str | None:
    """Return the text at `key`."""
    value = document.get(key)
    return value if isinstance(value, str) else None


def whole(document: Document, key: str) -> int | None:
    """Return the whole number at `key`."""
    value = document.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def listed(document: Document, key: str) -> tuple[Any, ...]:
    """Return the list at `key`, an empty one where there is none."""
    value = document.get(key)
    return value if isinstance(value, tuple) else ()


def triple(document: Document, key: str) -> Triple | None:
    """Return the list of three positive whole numbers at `key`."""
    return as_triple(document.get(key))


def as_triple(value: object) -> Triple | None:
    """`value` itself if it is three positive whole numbers."""
    if not isinstance(value, tuple) or len(value) != 3:
        return None
    if not all(type(item) is int and item > 0 for item in value):
        return None
    x, y, z = value
    return x, y, z


def lengths(document: Document, key: str, count: int) -> tuple[float, ...] | None:
    """Return the list of `count` numbers at `key`."""
    value = document.get(key)
    if not isinstance(value, tuple) or len(value) != count:
        return None
    return value if all(type(item) in (int, float) for item in value) else None


def voxel_size_key(document: Document) -> str | None:
    """Return the key of the voxelizer's VOXEL_SIZE, where there is a voxelizer."""
    try:
        path, _ = voxelizer_path(document.root)
    except ConfigError:
        return None
    return dotted((*path, "VOXEL_SIZE"))


def dsvt_key(document: Document) -> str | None:
    """Return the key of DSVT's section: the 3D backbone, or a part of it."""
    backbone = "MODEL.BACKBONE_3D"
    if text(document, f"{backbone}.NAME") == "DSVT":
        return backbone
    part = f"{backbone}.DSVT"
    return part if isinstance(document.get(part), dict) else None


def checkpoint_keys(document: Document) -> tuple[str, str] | None:
    """Return the name of DSVT's checkpointing key that its code reads, and the one that it ignores.

    FocalDSVT's repository has DSVT's own code, which reads a misspelt name; OpenPCDet's copy reads
    the right one. None without DSVT.
    """
    section, right, misspelt = dsvt_key(document), "USE_CHECKPOINT", "ues_checkpoint"
    if section is None:
        return None
    return (right, misspelt) if section == "MODEL.BACKBONE_3D" else (misspelt, right)
