"""bevdiag: what a 3D detector's training step will ask of a GPU, before it is launched."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bevdiag.api import predict as predict

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """`bevdiag.predict`, imported when it is first asked for: this package alone stays light."""
    if name == "predict":
        from bevdiag.api import predict

        return predict
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
