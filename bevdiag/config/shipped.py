"""The example configs that travel with bevdiag."""

from pathlib import Path

import bevdiag

_PACKAGE = Path(bevdiag.__file__).resolve().parent


def shipped_config(name: str) -> Path:
    """The path of an example config, such as ``focalsst_dsvt``.

    An installed wheel holds the configs in the package; a checkout has them beside it.
    """
    inside, beside = (root / "configs" / f"{name}.yaml" for root in (_PACKAGE, _PACKAGE.parent))
    return inside if inside.is_file() else beside
