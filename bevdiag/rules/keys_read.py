"""Which keys of a config a repository's code reads, found in its text: nothing is run."""

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_IS_CONFIG = re.compile(r"cfg|config", re.IGNORECASE)
_LARGEST_FILE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class KeyRead:
    """One place that reads a key.

    Attributes:
        key: as it is spelt there.
        owner: the class around it, empty outside of all.
        is_switch: whether it is off where the key is not written.
    """

    key: str
    owner: str
    is_switch: bool


@lru_cache(maxsize=8)
def keys_read(root: Path, wanted: re.Pattern[str]) -> tuple[KeyRead, ...]:
    """Every reading of a key that matches, of a mapping that is named like a config.

    Args:
        root: the repository's folder.
        wanted: is searched for in the key.
    """
    found: dict[KeyRead, None] = {}
    for file in _code(root):
        try:
            text = file.read_text(encoding="utf-8")
            if len(text) > _LARGEST_FILE_BYTES or not wanted.search(text):
                continue
            tree = ast.parse(text)
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        found |= dict.fromkeys(
            read for read in _reads(tree, "") if wanted.search(read.key) is not None
        )
    return tuple(found)


def _code(root: Path) -> Iterator[Path]:
    """Yield the files of the code; folders without any, such as data, are not looked into."""
    for folder, below, names in os.walk(root):
        files = sorted(name for name in names if name.endswith(".py"))
        yield from (Path(folder, name) for name in files)
        if not files and Path(folder) != root:
            below.clear()
        below.sort()


def _reads(node: ast.AST, owner: str) -> Iterator[KeyRead]:
    for below in ast.iter_child_nodes(node):
        inside = below.name if isinstance(below, ast.ClassDef) else owner
        read = _read(below, owner)
        if read is not None:
            yield read
        yield from _reads(below, inside)


def _read(node: ast.AST, owner: str) -> KeyRead | None:
    """Return the key that a node reads: `cfg.get("KEY", False)`, `cfg["KEY"]` or `cfg.KEY`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        key = node.args[0] if node.func.attr == "get" and node.args else None
        if not isinstance(key, ast.Constant) or not _is_config(node.func.value):
            return None
        default = node.args[1] if len(node.args) > 1 else None
        is_switch = isinstance(default, ast.Constant) and default.value is False
        return KeyRead(str(key.value), owner, is_switch)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return KeyRead(str(node.slice.value), owner, False) if _is_config(node.value) else None
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        return KeyRead(node.attr, owner, False) if _is_config(node.value) else None
    return None


def _is_config(node: ast.expr) -> bool:
    """Whether the name of what is read from says that it is a config."""
    names = [n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)]
    names += [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
    return any(_IS_CONFIG.search(name) for name in names)
