"""The repository that a config lies in: which modules its own code has, by name.

Forks add modules, and their configs lie beside the code. A look into that code tells a module of
the fork from a slip of the pen, and runs none of it.
"""

import re
from functools import cache
from pathlib import Path

_MODELS = Path("pcdet") / "models"
_MOST_FILES = 2000
_MOST_BYTES = 2**20
_NAME = re.compile(r"^class (\w{1,200})|^\s{1,80}['\"](\w{1,200})['\"]\s*:", re.MULTILINE)
"""A class, or an entry of a registry such as `'CenterHead': CenterHead,`."""


def repository_of(config: Path) -> Path | None:
    """The folder around a config that holds pcdet/models; None where there is none."""
    return next((f for f in config.absolute().parents if (f / _MODELS).is_dir()), None)


@cache
def module_names(repository: Path) -> frozenset[str]:
    """The names that the repository's models go by, as far as its files can be read."""
    names: set[str] = set()
    for path in sorted((repository / _MODELS).rglob("*.py"))[:_MOST_FILES]:
        try:
            with path.open("rb") as file:
                text = file.read(_MOST_BYTES).decode("utf-8", "replace")
        except OSError:
            continue
        names.update(match[1] or match[2] for match in _NAME.finditer(text))
    return frozenset(names)


def is_own_module(config: Path, name: str) -> bool:
    """Whether the repository around the config has a module of that name."""
    repository = repository_of(config)
    return repository is not None and name in module_names(repository)
