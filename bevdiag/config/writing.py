"""Config files read and replaced as they are: byte for byte, whole or not at all."""

import os
import shutil
from pathlib import Path

from bevdiag.errors import InputError

_BOM = "\ufeff"


def read_text(path: Path) -> str:
    """The text of a config that `load_config` has read, line ends and byte order mark included."""
    return path.read_bytes().decode("utf-8")


def without_mark(text: str) -> tuple[str, str]:
    """The byte order mark that the text begins with, if it does, and the rest."""
    return (_BOM, text[1:]) if text.startswith(_BOM) else ("", text)


def replace_text(path: Path, text: str) -> None:
    """Puts the text in place of the file, which keeps its permissions; a link stays a link.

    Raises:
        InputError: the file cannot be written; it is then as it was.
    """
    path = path.resolve()
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(text.encode("utf-8"))
        shutil.copymode(path, unfinished)
        unfinished.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
