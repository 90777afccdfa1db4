"""What a message says by itself, without a model."""

from collections.abc import Iterator

from bevdiag.explain.failure import Failure, FailureKind, Figure
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
from bevdiag.memory.oom import format_size

_LIBRARIES = {
    FailureKind.CUBLAS: "cuBLAS found no memory for its handle or workspace. PyTorch's allocator "
    "holds the rest of the GPU: what it caches is out of cuBLAS's reach.",
    FailureKind.CUDNN: "cuDNN found no memory outside PyTorch's allocator, for its handle or for "
    "what it keeps itself.",
    FailureKind.NO_ENGINE: "PyTorch tries cuDNN's engines one after another and skips those whose "
    "workspace does not fit; none was left. It is a failure for lack of memory in most trainings, "
    "though the message does not say so, and the workspace's size is not in it.",
    FailureKind.NCCL: "NCCL allocates its buffers itself, outside PyTorch's allocator, when the "
    "processes first talk to each other.",
    FailureKind.SPCONV: "spconv (cumm) got CUDA's error 2, out of memory, in an allocation of its "
    "own: loading or tuning a kernel. Its tensors go through PyTorch's allocator.",
    FailureKind.DRIVER: "CUDA itself had nothing left: a context, a module of kernels or a "
    "library's buffer, none of which go through PyTorch's allocator. The place of the traceback "
    "may be late.",
    FailureKind.ASYNC_ALLOCATOR: "The process runs with backend:cudaMallocAsync: the figure is the "
    "request itself, no segment.",
    FailureKind.HOST: "It is the host's memory, not the GPU's: no change to batch or model that "
    "spares the GPU need help.",
    FailureKind.WORKER: "The host ran out of memory or of shared memory (/dev/shm), not the GPU: "
    "fewer workers, or a larger --shm-size of the container.",
}


def decode(failure: Failure) -> tuple[str, ...]:
    """One sentence for each thing that the text tells."""
    sentences = [_LIBRARIES[failure.kind]] if failure.kind in _LIBRARIES else []
    if failure.requested is not None and failure.kind is FailureKind.ALLOCATOR:
        sentences.append(_segment(failure.requested))
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
    """The sizes of segments that print like this."""
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
    free = failure.free.middle_bytes if failure.free is not None else 0
    if failure.allowed is not None and failure.reserved_bytes is not None:
        free = min(free, max(0, failure.allowed.middle_bytes - failure.reserved_bytes))
    cached = format_size(max(unallocated, 0))
    remedy = (
        "expandable segments (PYTORCH_ALLOC_CONF=expandable_segments:True) would have served it"
    )
    if unallocated >= requested.middle_bytes:
        yield (
            f"Fragmentation is to blame: {cached} are reserved but unallocated, more than was "
            f"asked for, in pieces that are each too small; {remedy}."
        )
    elif unallocated + free >= requested.middle_bytes:
        yield (
            f"Fragmentation is partly to blame: {cached} in pieces and {format_size(free)} not yet "
            f"reserved are together more than was asked for; {remedy}."
        )
    else:
        lacking = requested.middle_bytes - unallocated - free
        yield (
            f"Fragmentation is not to blame: with all of the {cached} that are reserved but "
            f"unallocated in one piece, {format_size(lacking)} would still lack."
        )


def _others(failure: Failure) -> Iterator[str]:
    for pid, size in failure.others:
        yield f"Process {pid} holds {size.text} of the same GPU."
    total, free, in_use = failure.total, failure.free, failure.in_use
    if total is not None and free is not None and in_use is not None and not failure.others:
        elsewhere = total.middle_bytes - free.middle_bytes - in_use.middle_bytes
        # Three figures of two decimals each.
        doubt = sum(f.high_bytes - f.middle_bytes for f in (total, free, in_use))
        if elsewhere > doubt:
            yield f"Others hold {format_size(elsewhere)} of the same GPU."
