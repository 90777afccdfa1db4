"""Which meta tensors are made of a step's inputs alone: no training changes their values.

An answer about such a tensor holds for every step with these inputs.
"""

from collections.abc import Sequence
from typing import Any

import torch

from bevdiag.trace.operands import StorageNotes, stored_in, tensors_in


class Given:
    """Follows one trace's operations from the inputs on."""

    def __init__(self) -> None:
        self._given: StorageNotes[bool] = StorageNotes()
        self._has_inputs = False

    def add(self, tensor: torch.Tensor) -> None:
        """Note that the tensor is an input."""
        self._has_inputs = True
        self._given.keep(tensor, True)

    def holds(self, tensor: torch.Tensor) -> bool:
        """Whether nothing but inputs went into its values."""
        return not tensor.is_meta or self._given.of(tensor) is True

    def note(self, func: Any, args: tuple[Any, ...], outputs: Any) -> None:
        """Note that an operation has made or written its outputs."""
        if not self._has_inputs:
            return
        made = [tensor for tensor in stored_in((outputs,)) if tensor.is_meta]
        written = list(tensors_in(args[:1], {})) if func._schema.is_mutable else []
        is_given = _is_determined(func) and all(map(self.holds, tensors_in(args, {})))
        for tensor in (*made, *written):
            if not tensor.is_meta:
                continue
            if is_given:
                self._given.keep(tensor, True)
            elif written or not self.holds(tensor):
                self._given.drop(tensor)

    def overwritten(self, tensors: Sequence[torch.Tensor]) -> None:
        """Note that unseen code reads and writes these: one feature goes into all."""
        if not all(map(self.holds, tensors)):
            for tensor in tensors:
                self._given.drop(tensor)


def _is_determined(func: Any) -> bool:
    """Whether the arguments that are seen here decide the result."""
    if torch.Tag.nondeterministic_seeded in func.tags:
        return False
    # What is made empty is filled by a kernel that no operation shows.
    if "empty" in func._schema.name:
        return False
    return not any(
        argument.kwarg_only and "Tensor" in str(argument.type)
        for argument in func._schema.arguments
    )
