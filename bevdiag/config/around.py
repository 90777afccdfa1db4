"""The repository that a config lies in, and of what kind a folder is, judged by its files.

Forks add modules, and their configs lie beside the code. A look into that code tells a module of
the fork from a slip of the pen. Nothing of it is run.
"""

import re
from functools import cache
from itertools import chain
from pathlib import Path

from bevdiag.errors import InputError

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


DETECTORS = "*/models/detectors/__init__.py"
"""What every repository of OpenPCDet's family has, whatever its package is called."""
_PYTHON_CONFIGS = ("configs/**/*.py", "projects/**/configs/**/*.py")
_DEEPEST = 3
_OTHERS = (
    ("mmdet3d", "is mmdetection3d's kind of repository"),
    ("det3d", "is det3d's kind of repository"),
    ("mmdet", "is mmdetection's kind of repository"),
)
_INSTEAD = (
    "bevdiag runs the configs of OpenPCDet's family and Python configs of mmdetection3d, its "
    "plugins and det3d; of any other code, --entry FILE.py:function takes model, batch and loss "
    "(docs/source.md)"
)


def package_of(root: Path) -> str:
    """Return the name of the package that holds the detectors.

    Raises:
        InputError: no folder in it looks like OpenPCDet's; the sentence says what it is.
    """
    found = sorted(root.glob(DETECTORS))
    if not found:
        raise InputError(f"{root} {_what_it_is(root)}")
    return found[0].parents[2].name


def check_repository(root: Path) -> None:
    """Check that a folder holds detectors, or Python configs that build them.

    Raises:
        InputError: it holds neither; the sentence says what it is.
    """
    if not any(next(root.glob(configs), None) for configs in _PYTHON_CONFIGS):
        package_of(root)


def _what_it_is(root: Path) -> str:
    for depth in range(1, _DEEPEST + 1):
        for below in sorted(root.glob("*/" * depth + DETECTORS)):
            folder = below.parents[3]
            return f"holds the package in a folder below: give {folder}"
    for name, kind in _OTHERS:
        if (root / name).is_dir() or next(root.glob(f"*/{name}/__init__.py"), None):
            return f"{kind}: {_INSTEAD}"
    return f"has no package with models/detectors/__init__.py: {_INSTEAD}"
