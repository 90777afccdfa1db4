"""Where the files that come with bevdiag lie."""

from pathlib import Path

import bevdiag
from bevdiag.errors import InputError

SHIPPED_NAME = "configs/focalsst_dsvt.yaml"
"""How reports call the shipped model: the same on every machine."""


def shipped_config() -> Path:
    """The shipped model.

    Raises:
        InputError: this installation lacks it.
    """
    from bevdiag.config.shipped import shipped_file

    path = shipped_file(SHIPPED_NAME)
    if path is None:
        raise InputError(f"this installation lacks {SHIPPED_NAME}: name a config")
    return path


def shipped_file(name: str) -> Path | None:
    """The file or folder `configs/...` of that name, None where this installation lacks it.

    An installed package holds configs/ inside; in a checkout it lies beside the package.
    """
    package = Path(bevdiag.__file__).parent
    candidates = (folder / name for folder in (package, package.parent))
    return next((path for path in candidates if path.exists()), None)
