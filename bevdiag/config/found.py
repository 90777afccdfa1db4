"""Which configs a command line names: files, folders, patterns, and - for stdin."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bevdiag.errors import InputError
from bevdiag.files.reading import STDIN, read_part, take_stdin

_ENDINGS = (".yaml", ".yml")
_OTHERS = "dataset_configs"
"""The folder of what configs build on."""
_MODEL = re.compile(rb"^(MODEL|_BASE_CONFIG_)[ \t]*:", re.MULTILINE)
_HEAD_BYTES = 2**20


def config_files(named: Sequence[Path]) -> list[Path]:
    """Find the files, in the order in which they are named, none twice.

    Of a folder all configs of detectors below it; of a pattern what it matches, ** over folders.
    What is neither a folder nor a pattern that matches is taken as it is: whoever reads it says
    what it lacks.

    Raises:
        InputError: a folder without a config, or stdin that cannot be read.
    """
    found: dict[Path, None] = {}
    for path in named:
        found |= dict.fromkeys(_meant(path))
    return list(found)


def _meant(path: Path) -> list[Path]:
    if str(path) == STDIN:
        take_stdin(_HEAD_BYTES)
        return [path]
    if path.is_dir():
        below = sorted(_configs_below(path))
        if not below:
            raise InputError(f"{path}: no config of a detector lies below this folder")
        return below
    if not any(sign in str(path) for sign in "*?[") or path.exists():
        return [path]
    root = Path(path.anchor or ".")
    matches = sorted(root.glob(str(path.relative_to(path.anchor) if path.anchor else path)))
    return [match for match in matches if match.is_file()] or [path]


def _configs_below(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        named = file.suffix in _ENDINGS and _OTHERS not in file.parts and file.is_file()
        if named and _MODEL.search(read_part(file, _HEAD_BYTES)):
            yield file
