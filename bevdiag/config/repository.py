"""What kind of repository a folder is, judged by its files; nothing in it is run."""

from pathlib import Path

from bevdiag.errors import InputError

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
    "bevdiag runs the configs of OpenPCDet's family and Python configs of mmdetection3d 1.x and of "
    "det3d; of any other code, --entry FILE.py:function takes model, batch and loss "
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
