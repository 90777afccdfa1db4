"""The repository that a config lies in: which modules its own code has, by name.

Forks add modules, and their configs lie beside the code. A look into that code tells a module of
the fork from a slip of the pen, and runs none of it.
"""

import re
from functools import cache
from itertools import chain
from pathlib import Path

_MODELS = Path("pcdet") / "models"
_RENAMED = "*/models/detectors"
"""The same folder of a fork that gave the package another name."""
_FOLDERS = ("models", "datasets")
_MOST_FILES = 2000
_MOST_BYTES = 2**20
_NAME = re.compile(
    r"^class (\w{1,200})|^\s{1,80}['\"](\w{1,200})['\"]\s*:|^ {4}def (\w{1,200})", re.MULTILINE
)
"""A class, an entry of a registry such as `'CenterHead': CenterHead,`, or a method, as which data
processors and augmentations are looked up."""


@cache
def repository_of(config: Path) -> Path | None:
    """Return the package of detectors around a config, pcdet as a rule; None if there is none."""
    for folder in config.absolute().parents:
        if (folder / _MODELS).is_dir():
            return folder / _MODELS.parent
        if (folder / "setup.py").is_file():
            found = next(folder.glob(_RENAMED), None)
            return None if found is None else found.parents[1]
    return None


@cache
def module_names(repository: Path) -> frozenset[str]:
    """Return the names that its models and data steps go by, as far as its files can be read."""
    names: set[str] = set()
    files = [sorted((repository / folder).rglob("*.py"))[:_MOST_FILES] for folder in _FOLDERS]
    for path in chain.from_iterable(files):
        try:
            with path.open("rb") as file:
                text = file.read(_MOST_BYTES).decode("utf-8", "replace")
        except OSError:
            continue
        names.update(match[match.lastindex or 1] for match in _NAME.finditer(text))
    return frozenset(names)


def is_own_module(config: Path, name: str) -> bool:
    """Whether the repository around the config has a module of that name."""
    repository = repository_of(config)
    return repository is not None and name in module_names(repository)
