"""A stub for `spconv.pytorch` that runs on meta tensors, and the choice between the two."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

from bevdiag.errors import InputError

__all__ = ["library", "namespace"]


@contextmanager
def library(device: str, *, direct_table: bool) -> Iterator[ModuleType]:
    """Give what `namespace` gives, with spconv's SPCONV_USE_DIRECT_TABLE set while it lasts.

    The stub looks at the switch in every layer. spconv itself looks once, when
    `spconv.pytorch` is first imported: there, the first call of a process decides.

    Raises:
        InputError: the device is cuda and spconv cannot be imported.
    """
    constants: Any = _imported(
        "spconv.constants" if device == "cuda" else "bevdiag.sparse.constants"
    )
    with mock.patch.object(constants, "SPCONV_USE_DIRECT_TABLE", direct_table):
        yield namespace(device)


def namespace(device: str) -> ModuleType:
    """Return the module with SparseConvTensor, SubMConv3d and their like for a device type.

    Args:
        device: "meta" or "cpu" for the stub, "cuda" for the real spconv.

    Raises:
        InputError: the device is cuda and spconv cannot be imported.
    """
    return _imported("spconv.pytorch" if device == "cuda" else "bevdiag.sparse.stub")


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"the device cuda needs spconv, which cannot be imported ({error}): install the spconv "
            "wheel of your CUDA version, or take the device meta"
        ) from error
