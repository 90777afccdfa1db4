"""The families of training code: how each makes the model, the batch and the loss of its step."""

from pathlib import Path

from bevdiag.config.repository import package_of
from bevdiag.errors import InputError
from bevdiag.source.dialects.pcdet.dialect import OpenPcdet
from bevdiag.source.dialects.protocol import Dialect
from bevdiag.source.settings import SourceSettings

_DIALECTS: tuple[type[OpenPcdet], ...] = (OpenPcdet,)
"""The first one that recognises a repository runs it."""


def dialect_of(root: Path, settings: SourceSettings) -> Dialect:
    """The dialect of a repository's training code; nothing of it is run.

    Raises:
        InputError: no dialect recognises it; the sentence says what it is.
    """
    for kind in _DIALECTS:
        if kind.recognise(root, settings.path):
            return kind(root, settings)
    raise InputError(f"{root} holds the package {package_of(root)}, which no dialect runs")
