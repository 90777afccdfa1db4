"""What the stubs need of the trace that is running, one a child process, and which of them ran."""

import functools
from collections import defaultdict
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from torch import nn

from bevdiag.source.simulated_gpu import SimulatedGpu

_running: list[SimulatedGpu] = []


def begin(gpu: SimulatedGpu) -> None:
    """From here on, stubs work for the trace of this GPU."""
    _running[:] = [gpu]


def running() -> SimulatedGpu | None:
    """Return the GPU of the trace that is running, None where code runs on real tensors."""
    return _running[0] if _running else None


def current() -> SimulatedGpu:
    """Return the GPU of the trace that is running.

    Raises:
        RuntimeError: none is.
    """
    if not _running:
        raise RuntimeError("this operation of the GPU was called outside of a traced step")
    return _running[0]


_noted: list[str] = []


def note(sentence: str) -> None:
    """Say something of the trace, unless it was said before in this process."""
    if sentence not in _noted:
        _noted.append(sentence)


def noted() -> tuple[str, ...]:
    """Return what was said so far in this process."""
    return tuple(_noted)


_OURS = "bevdiag."
_ran: dict[str, set[str]] = defaultdict(set)


def watched(module: str, functions: Mapping[str, Any]) -> dict[str, Any]:
    """Wrap the functions of an extension module: each notes in which module it is called."""

    def noting(name: str, function: FunctionType) -> Any:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            trace = running()
            if trace is not None:
                path = trace.recorder.attribution.current_path()
                _ran[path].add(f"{module.rpartition('.')[2]}.{name}")
            return function(*args, **kwargs)

        return call

    return {
        name: noting(name, value) if isinstance(value, FunctionType) else value
        for name, value in functions.items()
    }


def whose_code(model: nn.Module) -> str:
    """One sentence: by the model's direct children, what ran as bevdiag's stub; else empty."""
    found: dict[str, set[str]] = defaultdict(set)
    for path, names in _ran.items():
        found[path.partition(".")[0] or "the detector itself"] |= names
    for path, module in model.named_modules():
        if type(module).__module__.startswith(_OURS):
            found[path.partition(".")[0]].add(type(module).__name__)
    if not found:
        return ""
    listed = "; ".join(f"{path}: {', '.join(sorted(names))}" for path, names in found.items())
    children = [name for name, _ in model.named_children() if name not in found]
    rest = f"; {', '.join(children)}: none" if children else ""
    return f"bevdiag's stubs ran, by module: {listed}{rest}; all other code is the repository's own"
