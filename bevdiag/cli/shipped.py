"""The configs that come with bevdiag."""

from pathlib import Path

from bevdiag.errors import InputError

SHIPPED_NAME = "configs/focalsst_dsvt.yaml"
"""How reports call the shipped model: the same on every machine."""


def shipped_config() -> Path:
    """Return the shipped model's config.

    Raises:
        InputError: this installation lacks it.
    """
    from bevdiag.config.shipped import shipped_file

    path = shipped_file(SHIPPED_NAME)
    if path is None:
        raise InputError(f"this installation lacks {SHIPPED_NAME}: name a config")
    return path
