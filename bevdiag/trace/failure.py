"""A training step that cannot run, reported in one sentence instead of a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb
from types import TracebackType

from torch import nn

from bevdiag.errors import BevdiagError, NoVerdictError

_MOST_CHARACTERS = 400
_REFUSALS = (ArithmeticError, MemoryError, RuntimeError, ValueError)


@contextmanager
def failures_reported(kinds: tuple[type[Exception], ...] = _REFUSALS) -> Iterator[None]:
    """Turn what a layer, PyTorch or the machine refuses into an error of the user's.

    Training would meet the same refusal of a shape. Anything else that is raised is a defect.

    Args:
        kinds: what counts as a refusal.

    Raises:
        NoVerdictError: names the innermost module that was running.
    """
    try:
        yield
    except BevdiagError:
        raise
    except kinds as error:
        path = _running_module(error.__traceback__)
        where = f"the training step stops in {path}" if path else "the training step cannot run"
        words = " ".join(str(error).split()) or type(error).__name__
        raise NoVerdictError(f"{where}: {words[:_MOST_CHARACTERS]}") from error


def _running_module(trace: TracebackType | None) -> str:
    """Return the innermost module's dotted path, seen from the outermost; empty outside of all."""
    owners = [frame.f_locals.get("self") for frame, _ in walk_tb(trace)]
    running = [owner for owner in owners if isinstance(owner, nn.Module)]
    names = {id(module): name for name, module in running[0].named_modules()} if running else {}
    return next((names[id(owner)] for owner in reversed(running) if names.get(id(owner))), "")
