"""What a message says by itself, without a model."""

from collections.abc import Iterator

from bevdiag.explain.answer import Failure, Figure
from bevdiag.memory.allocator import (
    LARGE_SEGMENT_BYTES,
    MIN_OWN_SEGMENT_BYTES,
    SEGMENT_ROUND_BYTES,
    SMALL_REQUEST_BYTES,
    SMALL_SEGMENT_BYTES,
    block_bytes,
    round_up,
    segment_bytes,
)
from bevdiag.memory.sizes import format_size

_SPCONV_1 = (
    "spconv 1 got CUDA's error 2, out of memory, when it started a kernel or sorted its indices, "
    "for which Thrust allocates by itself. Its tensors go through PyTorch's allocator."
)
_OWN_BYTES = 2**30
"""What a process may hold beside PyTorch's allocator: a context is 0.3 to 0.7 GiB, and loading
lazily, cuDNN's and spconv's kernels and NCCL's buffers add to it."""


def cause_of(failure: Failure) -> str:
    """Return the sentence that matters most where the figures alone decide it; else empty."""
    elsewhere, requested = _elsewhere_bytes(failure), failure.requested
    if requested is None:
        return ""
    is_cached = (failure.unallocated_bytes or 0) >= requested.middle_bytes
    is_small = elsewhere < requested.middle_bytes or (
        # What the process had cached would have done, and it holds most of the GPU.
        is_cached and elsewhere <= (failure.reserved_bytes or 0)
    )
    if failure.allowed is not None or is_small:
        return next(_fragmentation(failure), "") if is_cached else ""
    who, them = f"other processes have {format_size(elsewhere)} of the GPU", "them"
    if _in_use(failure) is None:
        who = (
            f"{format_size(elsewhere)} of the GPU are neither free nor PyTorch's, and a CUDA "
            f"context is at most {format_size(_OWN_BYTES)} of that"
        )
        them = "the processes"
    return (
        f"Something else holds the memory: {who}. nvidia-smi lists {them}; an earlier run that was "
        "not ended is the usual one."
    )


def decode(failure: Failure) -> tuple[str, ...]:
    """One sentence for each thing that the text tells."""
    name, requested = failure.kind.name, failure.requested
    sentences = [failure.kind.says] if failure.kind.says else []
    if name == "spconv" and "execution" in failure.sentence:
        sentences = [_SPCONV_1]
    if name == "allocator" and requested is None:
        sentences.append(
            "This torch (1.0 or older) prints no figures: which tensor it was, and whether others "
            "held the GPU, the message does not tell."
        )
    if name == "allocator" and requested is not None:
        sentences.append(_segment(requested))
    sentences += _room(failure)
    sentences += _fragmentation(failure)
    sentences += _others(failure)
    if failure.stack.frame:
        where = f" in the {failure.stack.phase} pass" if failure.stack.phase else ""
        sentences.append(f"The traceback ends{where} at {failure.stack.frame}.")
    return tuple(sentences)


def asks_for(nbytes: int, figure: Figure) -> bool:
    """Whether a request of that many bytes prints the figure when it fails."""
    rounded = block_bytes(nbytes)
    if figure.holds(segment_bytes(rounded)):
        return True
    # PyTorch 1.0 printed the request itself; such a figure is no size that a segment can have.
    return not _segments(figure) and figure.holds(rounded)


def _segments(figure: Figure) -> range | tuple[int, ...]:
    """Return the sizes of segments that print like this."""
    if figure.holds(SMALL_SEGMENT_BYTES):
        return (SMALL_SEGMENT_BYTES,)
    first = max(round_up(figure.low_bytes, SEGMENT_ROUND_BYTES), MIN_OWN_SEGMENT_BYTES)
    return range(first, figure.high_bytes + 1, SEGMENT_ROUND_BYTES)


def _segment(figure: Figure) -> str:
    sizes = _segments(figure)
    if not sizes:
        return f"{figure.text} is no size of a segment: PyTorch before 1.1 prints the request."
    if sizes[0] == SMALL_SEGMENT_BYTES:
        return (
            f"{figure.text} is a segment of the small pool, whatever the tensor: it has "
            f"{SMALL_REQUEST_BYTES:,} bytes or less."
        )
    if LARGE_SEGMENT_BYTES in sizes:
        return (
            f"{figure.text} is the segment for every request above "
            f"{SMALL_REQUEST_BYTES:,} bytes and below {format_size(MIN_OWN_SEGMENT_BYTES)}: "
            "the tensor is that small, or it has 18.00 to 20.00 MiB."
        )
    low, high = sizes[0] - SEGMENT_ROUND_BYTES, sizes[-1]
    return (
        f"{figure.text} is the segment, a multiple of {format_size(SEGMENT_ROUND_BYTES)}: the "
        f"tensor or workspace has {low + 1:,} to {high:,} bytes."
    )


def _room(failure: Failure) -> Iterator[str]:
    capacity = failure.capacity_bytes
    if failure.allowed is not None:
        yield (
            f"A limit of {failure.allowed.text} was set for the process "
            "(torch.cuda.set_per_process_memory_fraction); the GPU itself may have room."
        )
    elif capacity is not None and failure.reserved_bytes is not None:
        yield (
            f"The allocator held {format_size(failure.reserved_bytes)} and CUDA could give "
            f"{failure.free.text if failure.free else 'nothing'} more: {format_size(capacity)} in "
            "all."
        )


def _fragmentation(failure: Failure) -> Iterator[str]:
    """Whether the cached pieces would have been enough, had they been one."""
    unallocated, requested = failure.unallocated_bytes, failure.requested
    if unallocated is None or requested is None:
        return
    if failure.allowed is None and _elsewhere_bytes(failure) > (failure.reserved_bytes or 0):
        return  # a few pieces of what little there was are no cause
    free = failure.free.middle_bytes if failure.free is not None else 0
    if failure.allowed is not None and failure.reserved_bytes is not None:
        free = min(free, max(0, failure.allowed.middle_bytes - failure.reserved_bytes))
    cached = format_size(max(unallocated, 0))
    if unallocated >= requested.middle_bytes:
        yield (
            f"Fragmentation is to blame: {cached} are reserved but unallocated, more than was "
            f"asked for, in pieces that are each too small; {_remedy(failure)}."
        )
    elif unallocated + free >= requested.middle_bytes:
        yield (
            f"Fragmentation is partly to blame: {cached} in pieces and {format_size(free)} not yet "
            f"reserved are together more than was asked for; {_remedy(failure)}."
        )
    else:
        lacking = requested.middle_bytes - unallocated - free
        yield (
            f"Fragmentation is not to blame: with all of the {cached} that are reserved but "
            f"unallocated in one piece, {format_size(lacking)} would still lack."
        )


def _remedy(failure: Failure) -> str:
    """Say what helps against fragmentation in the torch that printed this."""
    if "expandable_segments" in failure.advises:
        return f"expandable segments ({failure.advises}) would have served it"
    split = "PYTORCH_CUDA_ALLOC_CONF=max_split_size_mb:128"
    if failure.advises or (failure.total is not None and failure.reserved is not None):
        return (
            f"{split}, which torch reads from 1.10 on, keeps large blocks whole; expandable "
            "segments came with torch 2.1"
        )
    if failure.total is not None and failure.in_use is None:
        return "this torch (before 1.4) has no setting against it: a newer one has"
    return (
        "expandable segments (PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True, from torch 2.1 on) "
        f"would have served it; before, {split} helps"
    )


def _others(failure: Failure) -> Iterator[str]:
    for pid, size in failure.others:
        yield f"Process {pid} holds {size.text} of the same GPU."
    elsewhere = _elsewhere_bytes(failure)
    if elsewhere and _in_use(failure) is not None and not failure.others:
        yield f"Others hold {format_size(elsewhere)} of the same GPU."


def _elsewhere_bytes(failure: Failure) -> int:
    """Return what nobody but others can hold, as far as the figures tell; else 0.

    Newer messages say what the process holds; older ones only what its allocator has reserved, so
    more than a process ever needs beside that must be missing.
    """
    total, free, in_use = failure.total, failure.free, _in_use(failure)
    if total is None or free is None:
        return 0
    if in_use is not None:
        own = max(in_use.middle_bytes, failure.reserved_bytes or 0)
        elsewhere = total.middle_bytes - free.middle_bytes - own
        # Three figures of two decimals each.
        doubt = sum(f.high_bytes - f.middle_bytes for f in (total, free, in_use))
        return elsewhere if elsewhere > doubt else 0
    if failure.reserved_bytes is None:
        return 0
    elsewhere = total.middle_bytes - free.middle_bytes - failure.reserved_bytes
    return elsewhere if elsewhere > _OWN_BYTES else 0


def _in_use(failure: Failure) -> Figure | None:
    """Return what the process holds, but where the message is wrong, as in containers."""
    in_use, total = failure.in_use, failure.total
    if in_use is None or in_use.high_bytes < (failure.reserved_bytes or 0):
        return None
    return in_use if total is None or in_use.low_bytes <= total.high_bytes else None
