"""What the tensors made right now are for, where the op alone cannot tell.

A room that makes tensors on behalf of a library (the stub for spconv, say) names their category
here; the recorder asks for it with each allocation.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from bevdiag.memory.events import Category

_current: ContextVar[Category | None] = ContextVar("bevdiag_category", default=None)


def current_category() -> Category | None:
    """Return the category named by the innermost `allocating`, None outside of any."""
    return _current.get()


@contextmanager
def allocating(category: Category) -> Iterator[None]:
    """Name the category of every tensor made inside; may be nested."""
    token = _current.set(category)
    try:
        yield
    finally:
        _current.reset(token)
