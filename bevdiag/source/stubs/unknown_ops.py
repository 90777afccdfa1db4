"""Compiled operations that bevdiag has no definition of its own for.

Most wrappers allocate what a kernel fills: such a function allocates nothing, so the memory is
known and only the values are not. One that returns tensors allocates them itself, and stops the
trace with its name and place.
"""

import sys
from collections.abc import Callable
from typing import Any

from torch import Tensor

from bevdiag.errors import NoVerdictError
from bevdiag.source.failures import Remedy, stopped
from bevdiag.source.state import note, running
from bevdiag.source.stubs.arrays import array, lose_values
from bevdiag.source.stubs.definitions import Function
from bevdiag.trace.assumed_values import AssumedValues
from bevdiag.trace.places import user_place


class Kernel:
    """A Triton kernel: `kernel[grid](...)` fills the tensors that it is given."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self.__name__ = getattr(function, "__name__", "kernel")

    def __getitem__(self, grid: Any) -> Callable[..., int]:
        module = getattr(self._function, "__module__", "")
        return unknown_op(module, Function(self.__name__, False, ""))

    def run(self, *args: Any, **kwargs: Any) -> int:
        """Run, as older code calls it."""
        return self[None](*args, **kwargs)


def _is_uniform(tensor: Tensor) -> bool:
    if tensor.is_meta or not tensor.numel():
        return False
    values = array(tensor)
    return bool((values == values.flat[0]).all())


def unknown_op(module: str, function: Function) -> Callable[..., int]:
    """Return what is called in place of a function whose kernel is not known."""

    def fills_what_it_is_given(*args: Any, **kwargs: Any) -> int:
        caller = user_place(sys._getframe(1))
        where = f" (defined in {function.place})" if function.place else ""
        named = f"{caller}: {module}.{function.name}{where}"
        if function.returns_tensors:
            raise stopped(
                f"{module}.{function.name}{where} is a compiled operation that bevdiag does not "
                "know, and it returns tensors whose sizes only its kernel knows",
                Remedy.KERNEL,
                caller,
            )
        trace = running()
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        if trace is not None and isinstance(trace.values, AssumedValues):
            note(
                f"{named} is a compiled operation that bevdiag does not know: it fills the "
                "tensors that it is given and allocates nothing"
            )
            if any(tensor.is_meta for tensor in tensors):
                # One value throughout is what a wrapper fills an output with before the call.
                lose_values(tensor for tensor in tensors if _is_uniform(tensor))
            if not all(tensor.is_meta for tensor in tensors):
                trace.values.leave_open(
                    f"{named}: what it writes is not known, so counts that depend on it are not"
                )
            return 1
        raise NoVerdictError(f"{named} has no values on the CPU")

    fills_what_it_is_given.__name__ = function.name
    return fills_what_it_is_given
