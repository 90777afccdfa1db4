"""Where the files that come with bevdiag lie."""

from pathlib import Path

import bevdiag


def shipped_file(name: str) -> Path | None:
    """Return the file or folder `configs/...` of that name, None where this installation lacks it.

    An installed package holds configs/ inside; in a checkout it lies beside the package.
    """
    package = Path(bevdiag.__file__).parent
    candidates = (folder / name for folder in (package, package.parent))
    return next((path for path in candidates if path.exists()), None)
