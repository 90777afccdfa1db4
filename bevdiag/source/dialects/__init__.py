"""The families of training code: how each makes the model, the batch and the loss of its step."""

from collections.abc import Sequence
from pathlib import Path

from bevdiag.config.around import package_of
from bevdiag.errors import InputError
from bevdiag.source.dialects.det3d import Det3d
from bevdiag.source.dialects.mmcv1.dialect import Mmcv1
from bevdiag.source.dialects.mmengine.dialect import MMEngine
from bevdiag.source.dialects.pcdet.dialect import OpenPcdet
from bevdiag.source.dialects.protocol import Dialect
from bevdiag.source.settings import SourceSettings


def dialect_of(root: Path, config: SourceSettings | Path, overrides: Sequence[str]) -> Dialect:
    """Return the dialect of a repository's training code; nothing of it is run.

    Args:
        root: the repository.
        config: what its config says; of one that is code, its path.
        overrides: `KEY=value` texts for the config.

    Raises:
        InputError: no dialect recognises it; the sentence says what it is.
    """
    path = config if isinstance(config, Path) else config.path
    for kind in (Det3d, Mmcv1, MMEngine):
        if kind.recognise(root, path):
            return kind(root, path.resolve(), overrides)
    if isinstance(config, SourceSettings) and OpenPcdet.recognise(root, path):
        return OpenPcdet(root, config)
    raise InputError(
        f"{root} holds the package {package_of(root)}, which does not train from {path}"
    )
