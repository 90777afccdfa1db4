"""The configs that come with bevdiag."""

from pathlib import Path

import bevdiag
from bevdiag.errors import InputError

SHIPPED_NAME = "configs/focalsst_dsvt.yaml"
"""How reports call the shipped model: the same on every machine."""


def shipped_config() -> Path:
    """The shipped model: inside an installed package, beside the package in a checkout.

    Raises:
        InputError: this installation lacks it.
    """
    package = Path(bevdiag.__file__).parent
    for folder in (package, package.parent):
        if (folder / SHIPPED_NAME).is_file():
            return folder / SHIPPED_NAME
    raise InputError(f"this installation lacks {SHIPPED_NAME}: name a config")
