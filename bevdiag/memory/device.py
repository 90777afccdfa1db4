"""What the numbers of one simulation are for: a GPU, a budget, a torch and its cuDNN."""

from dataclasses import dataclass

from bevdiag.errors import InputError
from bevdiag.memory.catalogue import cudnn_of_torch, find_gpu

DEFAULT_GPU = "h200"
"""Where no GPU is named, kernels are taken to be this one's: it is the one that was measured."""

CudnnVersion = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTarget:
    """The device and the library versions that decide what a stream of events costs.

    Attributes:
        gpu: catalogue name, None when only a budget or nothing at all was given.
        capacity_bytes: the most that the allocator may reserve, None for no limit.
        total_bytes: the device's memory as CUDA reports it, None without a limit.
        context_bytes: what the process holds outside the allocator.
        is_capped: whether `capacity_bytes` is a budget below what the device would give, as
            `torch.cuda.set_per_process_memory_fraction` sets it.
        compute_capability: (major, minor).
        multiprocessors: number of streaming multiprocessors.
        cudnn: (major, minor, patch).
        torch: version without the local part.
    """

    gpu: str | None
    capacity_bytes: int | None
    total_bytes: int | None
    context_bytes: int
    is_capped: bool
    compute_capability: tuple[int, int]
    multiprocessors: int
    cudnn: CudnnVersion
    torch: str


def parse_cudnn(text: str) -> CudnnVersion:
    """Return the version of `9.1`, `9.10.2` or cuDNN's own number `91002`.

    Raises:
        InputError: the text is no cuDNN version.
    """
    parts = text.strip().split(".")
    if not all(part.isascii() and part.isdigit() and len(part) <= 6 for part in parts):
        parts = []
    numbers = [int(part) for part in parts]
    if len(numbers) == 1 and numbers[0] >= 1000:
        # CUDNN_VERSION is major * 10000 + minor * 100 + patch since 9, major * 1000 before.
        base = 10000 if numbers[0] >= 90000 else 1000
        return (numbers[0] // base, numbers[0] % base // 100, numbers[0] % 100)
    if not 1 <= len(numbers) <= 4:
        raise InputError(f"{text!r} is no cuDNN version: write it like 9.1 or 9.10.2")
    major, minor, patch = [*numbers[:3], 0, 0][:3]
    return (major, minor, patch)


def make_target(
    *,
    torch: str,
    gpu: str | None = None,
    budget_bytes: int | None = None,
    cudnn: str | None = None,
) -> DeviceTarget:
    """Return the target of the user's options.

    Args:
        torch: installed or assumed version; its default CUDA wheel decides cuDNN.
        gpu: a name or alias of the catalogue.
        budget_bytes: the most that the process may reserve; with a GPU, the smaller of the two.
        cudnn: a version that overrides torch's.

    Raises:
        InputError: the GPU or the cuDNN version is not known.
    """
    device = find_gpu(gpu) if gpu is not None else None
    kernels = device or find_gpu(DEFAULT_GPU)
    usable = device.usable_bytes if device is not None else None
    limits = [limit for limit in (usable, budget_bytes) if limit is not None]
    capacity = min(limits, default=None)
    return DeviceTarget(
        gpu=device.name if device is not None else None,
        capacity_bytes=capacity,
        total_bytes=device.total_bytes if device is not None else budget_bytes,
        context_bytes=device.context_bytes if device is not None else 0,
        is_capped=usable is not None and capacity is not None and capacity < usable,
        compute_capability=kernels.compute_capability,
        multiprocessors=kernels.multiprocessors,
        cudnn=parse_cudnn(cudnn if cudnn is not None else cudnn_of_torch(torch).cudnn),
        torch=torch.partition("+")[0],
    )
