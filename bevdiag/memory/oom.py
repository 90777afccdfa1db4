"""The message that PyTorch prints where memory runs out."""

from typing import TYPE_CHECKING

# Sizes are written where no step is traced.
if TYPE_CHECKING:
    from bevdiag.memory.device import DeviceTarget
    from bevdiag.memory.profile import Refusal


def oom_message(refusal: "Refusal", target: "DeviceTarget") -> str:
    """Return the text of torch.OutOfMemoryError for this refusal, without its closing advice.

    Device 0 is the process's own: nothing else runs on it.

    Raises:
        ValueError: the target has no capacity, so nothing can be refused.
    """
    total, capacity = target.total_bytes, target.capacity_bytes
    if total is None or capacity is None:
        raise ValueError("a target without a capacity refuses nothing")
    in_use = target.context_bytes + refusal.reserved_bytes
    allowed = f"{format_size(capacity)} allowed; " if target.is_capped else ""
    unallocated = refusal.reserved_bytes - refusal.allocated_bytes
    return (
        f"CUDA out of memory. Tried to allocate {format_size(refusal.requested_bytes)}. "
        f"GPU 0 has a total capacity of {format_size(total)} "
        f"of which {format_size(total - in_use)} is free. "
        f"Including non-PyTorch memory, this process has {format_size(in_use)} memory in use. "
        f"{allowed}"
        f"Of the allocated memory {format_size(refusal.allocated_bytes)} is allocated by PyTorch, "
        f"and {format_size(unallocated)} is reserved by PyTorch but unallocated."
    )


def format_size(nbytes: int) -> str:
    """Return a size as `c10::CachingDeviceAllocator`'s messages write it, two decimals."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if nbytes > unit:
            return f"{nbytes / unit:.2f} {name}"
    return f"{nbytes} bytes"
