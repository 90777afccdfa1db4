"""The configs that come with bevdiag, and where they lie."""

from pathlib import Path

import bevdiag
from bevdiag.errors import InputError


def shipped_file(name: str) -> Path | None:
    """Return the file or folder `configs/...` of that name, None where this installation lacks it.

    An installed package holds configs/ inside; in a checkout it lies beside the package.
    """
    package = Path(bevdiag.__file__).parent
    candidates = (folder / name for folder in (package, package.parent))
    return next((path for path in candidates if path.exists()), None)


SHIPPED_NAME = "configs/focalsst_dsvt.yaml"
"""How reports call the shipped model: the same on every machine."""


def shipped_config() -> Path:
    """Return the shipped model's config.

    Raises:
        InputError: this installation lacks it.
    """
    path = shipped_file(SHIPPED_NAME)
    if path is None:
        raise InputError(f"this installation lacks {SHIPPED_NAME}: name a config")
    return path
