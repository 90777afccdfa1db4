"""Operations that autograd runs in place in an unwatched process, out of place in a watched one.

While a dispatch mode is on, the engine takes every tensor for a subclass, whose in-place operations
it must not rely on.

Sources: torch/csrc/autograd/{input_buffer,FunctionsManual}.cpp.
"""

import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

from bevdiag.memory.events import Phase
from bevdiag.trace.ownership import is_sole_owner
from bevdiag.trace.sorting import index_put_buffers

if TYPE_CHECKING:
    from bevdiag.trace.recorder import Recorder

aten = torch.ops.aten

# Between the engine and a rule stand only these files' frames.
_PASS_THROUGH = (
    str(Path(__file__).parent),
    str(Path(torch.__file__).parent / "_compile.py"),
    str(Path(torch.__file__).parent / "_dynamo"),
    str(Path(torch.__file__).parent / "utils" / "_python_dispatch.py"),
)


def _called_by_engine() -> bool:
    """Whether autograd's engine itself, no Python function of a node, asks for the operation."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PASS_THROUGH):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_name == "_engine_run_backward"


def accumulate(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Run a sum; the engine's own at a fan-out goes into the buffer that it alone owns."""
    buffer, addend = args[:2]
    if (
        recorder.phase is Phase.BACKWARD
        and not torch.is_grad_enabled()
        and isinstance(addend, torch.Tensor)
        and buffer.shape == addend.shape
        and buffer.dtype == addend.dtype
        and _called_by_engine()
        and is_sole_owner(buffer)
    ):
        return buffer
    return recorder.run(func, args, kwargs)


def scatter_into_zeros(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Values put into a copy; backward formulas (index, gather, max) take fresh zeros for it."""
    target = args[0]
    fresh = recorder.block_of(target) == recorder.last_block
    if not (recorder.phase is Phase.BACKWARD and fresh and _called_by_engine()):
        return recorder.run(func, args, kwargs)
    if func is aten.index_put.default:
        index_put_buffers(recorder, args[1])
    return target
