"""The allocator's history as a snapshot for pytorch.org/memory_viz and torch.cuda._memory_viz.

The format is that of `torch.cuda.memory._dump_snapshot`. Where a real snapshot has a Python stack,
this one has two frames: the operation in its module, and the tensor in its step and phase. The
viewer's own unpickler knows protocols 2 to 4, and lists, dicts, strings and numbers alone.
"""

import pickle
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from bevdiag.memory.events import Alloc
from bevdiag.memory.history import AllocatorAction, FilledBlock, FilledSegment, History
from bevdiag.report.printable import printable

PROTOCOL = 4
_NO_CATEGORY = "unknown"
"""Of segments. The viewer fails where events have categories and this one is not among them."""

_Frames = Callable[[Alloc], list[dict[str, Any]]]


def memory_viz(history: History) -> bytes:
    """Pickle the snapshot of one device."""
    # Equal frames become one list, which the pickle holds once.
    frames = cache(_frames)
    events = [event for entry in history.entries for event in _events(entry, frames)]
    document = {
        "segments": [_segment(segment, frames) for segment in history.segments],
        "device_traces": [events],
    }
    return pickle.dumps(document, protocol=PROTOCOL)


def _events(entry: AllocatorAction, frames: _Frames) -> Iterator[dict[str, Any]]:
    # PyTorch notes when a block's last owner lets go and when its streams are done with it.
    done = entry.action.value
    actions = ("free_requested", done) if done == "free_completed" else (done,)
    for action in actions:
        is_segment = action.startswith("segment")
        place = {"device_free": entry.free_bytes} if action == "oom" else {"addr": entry.address}
        yield {
            "action": action,
            **place,
            "size": entry.nbytes,
            "stream": 0,
            "frames": frames(entry.cause),
            "category": _NO_CATEGORY if is_segment else entry.cause.category.value,
        }


def _segment(segment: FilledSegment, frames: _Frames) -> dict[str, Any]:
    held = [block for block in segment.blocks if block.cause is not None]
    allocated = sum(block.size for block in held)
    return {
        "device": 0,
        "address": segment.address,
        "total_size": segment.size,
        "allocated_size": allocated,
        "active_size": allocated,
        "requested_size": sum(block.nbytes for block in held),
        "stream": 0,
        "segment_type": "small" if segment.is_small else "large",
        "segment_pool_id": (0, 0),
        "is_expandable": False,
        "frames": [],
        "blocks": [_block(block, frames) for block in segment.blocks],
    }


def _block(block: FilledBlock, frames: _Frames) -> dict[str, Any]:
    return {
        "address": block.address,
        "size": block.size,
        "requested_size": block.nbytes,
        "state": "inactive" if block.cause is None else "active_allocated",
        "frames": [] if block.cause is None else frames(block.cause),
    }


def _frames(owner: Alloc) -> list[dict[str, Any]]:
    step = f"step {owner.step}, {owner.phase.value}" if owner.step else owner.phase.value
    tensor = " ".join((owner.dtype, " x ".join(map(str, owner.shape)))).strip()
    return [
        {"name": printable(owner.op), "filename": printable(owner.module) or "-", "line": 0},
        {"name": tensor or owner.category.value, "filename": step, "line": 0},
    ]
