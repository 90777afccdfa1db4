"""Which stubs ran, and in which module: what a report says of whose code it was."""

import functools
from collections import defaultdict
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from torch import nn

from bevdiag.source.state import running

_OURS = "bevdiag."
_ran: dict[str, set[str]] = defaultdict(set)


def watched(module: str, functions: Mapping[str, Any]) -> dict[str, Any]:
    """Wrap the functions of an extension module: each notes in which module it is called."""

    def noting(name: str, function: FunctionType) -> Any:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            trace = running()
            if trace is not None:
                path = trace.gpu.recorder.attribution.current_path()
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
