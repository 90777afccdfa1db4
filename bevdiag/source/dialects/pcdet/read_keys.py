"""Which keys of a config a repository's code reads, and which nobody does.

A key that was not read while the model was built and its step ran, and that no file of the
repository mentions, changes nothing. A section of the model that was not read is a part that the
step lacks: a teacher that the training script builds beside the student, for instance.
"""

import re
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from bevdiag.source.dialects.protocol import Unread
from bevdiag.source.stubs.small_packages import EasyDict

_WORD = re.compile(r"[A-Za-z_]\w*")
_LARGEST_FILE = 1 << 20
_KNOWN_SECTIONS = ("MODEL", "DATA_CONFIG", "OPTIMIZATION")
_OF_MODELS = ("MODEL_", "KD")
"""How sections at the top are named that describe a further model or its losses."""


class Watched(EasyDict):
    """A config that remembers which of its keys were read.

    Args:
        source: the values.
        path: its own key, dotted; empty at the top.
        read: gets the dotted keys; the entries of a list share the list's key.
    """

    def __init__(self, source: Mapping[str, Any], path: str, read: set[str]) -> None:
        # EasyDict's attributes are its keys.
        object.__setattr__(self, "_at", (path, read))
        super().__init__(source)

    def _note(self, key: Any) -> None:
        path, read = self._at
        read.add(f"{path}.{key}" if path else str(key))

    def __setitem__(self, key: str, value: Any) -> None:
        path, read = self._at
        within = f"{path}.{key}" if path else key
        dict.__setitem__(self, key, _watched(value, within, read))

    def __getitem__(self, key: str) -> Any:
        self._note(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._note(key)
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        for key in list(super().__iter__()):
            self._note(key)
            yield key

    # Those of a dict look past the methods above.
    get: Any = MutableMapping.get
    pop: Any = MutableMapping.pop
    keys: Any = MutableMapping.keys
    items: Any = MutableMapping.items
    values: Any = MutableMapping.values


def _watched(value: Any, path: str, read: set[str]) -> Any:
    if isinstance(value, dict):
        return Watched(dict.copy(value), path, read)
    if isinstance(value, (list, tuple)):
        return type(value)(_watched(item, path, read) for item in value)
    return value


_read: set[str] = set()


def watched(values: Mapping[str, Any]) -> Watched:
    """Return the config as a repository's code gets it; this process notes what is read of it."""
    return Watched(values, "", _read)


def unread_in(
    values: Mapping[str, Any], root: Path, overrides: Sequence[str]
) -> tuple[Unread, ...]:
    """Return what nobody read of a config in this process.

    Args:
        values: the whole config.
        root: the repository, whose files are searched for the keys.
        overrides: `KEY=value` texts; one in the model has to be read by this very step.
    """
    found = [*_sections(values), *_keys(values, "", _mentioned(root)), *_sets(overrides)]
    return tuple({entry.key: entry for entry in reversed(found)}.values())[::-1]


def _sections(values: Mapping[str, Any]) -> Iterator[Unread]:
    at_top = {key: value for key, value in values.items() if key not in _KNOWN_SECTIONS}
    of_model = {f"MODEL.{key}": value for key, value in dict(values.get("MODEL") or {}).items()}
    for key, value in {**at_top, **of_model}.items():
        is_section = isinstance(value, dict) and ("NAME" in value or key.startswith(_OF_MODELS))
        if is_section and key not in _read:
            yield Unread(
                key=key,
                message=f"nothing read {key} in this training step: what it describes (a teacher "
                "or a loss that the training script adds, for instance) is in none of these "
                "numbers",
                is_section=True,
            )


def _keys(value: Any, path: str, words: frozenset[str]) -> Iterator[Unread]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _keys(item, path, words)
    if not isinstance(value, Mapping):
        return
    for name, inner in value.items():
        key = f"{path}.{name}" if path else str(name)
        if key in _read or name in words or not _WORD.fullmatch(str(name)):
            yield from _keys(inner, key, words)
        else:
            yield Unread(
                key=key, message=f"nothing reads {name}: no file of the repository mentions it"
            )


def _sets(overrides: Sequence[str]) -> Iterator[Unread]:
    for text in overrides:
        key = text.partition("=")[0].strip()
        named = ".".join(part for part in key.split(".") if not part.isdigit())
        if named.startswith("MODEL.") and named not in _read:
            yield Unread(
                key=key, message=f"--set {text} has no effect: nothing read the key in this step"
            )


def _mentioned(root: Path) -> frozenset[str]:
    """All words of the repository's Python files."""
    words: set[str] = set()
    for file in root.rglob("*.py"):
        try:
            if file.stat().st_size <= _LARGEST_FILE:
                words.update(_WORD.findall(file.read_text(encoding="utf-8", errors="replace")))
        except OSError:
            continue
    return frozenset(words)
