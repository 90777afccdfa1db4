"""A stand-in for `spconv.pytorch` that runs on meta tensors, and the choice between the two."""

import importlib
from types import ModuleType

from bevdiag.errors import InputError

__all__ = ["namespace"]


def namespace(device: str) -> ModuleType:
    """The module that provides SparseConvTensor, SubMConv3d and their like for a device type.

    Args:
        device: "meta" or "cpu" for the stand-in, "cuda" for the real spconv.

    Raises:
        InputError: the device is cuda and spconv cannot be imported.
    """
    if device != "cuda":
        return importlib.import_module("bevdiag.sparse.standin")
    try:
        return importlib.import_module("spconv.pytorch")
    except ImportError as error:
        raise InputError(
            f"the device cuda needs spconv, which cannot be imported ({error}): install the spconv "
            "wheel of your CUDA version, or take the device meta"
        ) from error
