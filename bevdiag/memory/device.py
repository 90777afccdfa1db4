"""What the numbers of one simulation are for: a GPU, a budget, a torch and its cuDNN."""

from dataclasses import dataclass, replace
from pathlib import Path

from bevdiag.errors import InputError
from bevdiag.memory.catalogue import (
    Gpu,
    assumed_context,
    cudnn_of_torch,
    find_gpu,
    gpu_called,
    same_gpu,
    same_release,
)
from bevdiag.memory.loop import PLAIN, Loop
from bevdiag.memory.profiles import (
    MEASURED_GPU,
    CudnnVersion,
    DeviceProfile,
    dotted,
    generation_of,
    read_profile,
    shipped_profile,
)

DEFAULT_GPU = MEASURED_GPU
"""Where no GPU is named, kernels are taken to be this one's: it is the one that was measured."""

NO_PROFILE = "none"
"""Instead of a profile's file: rules alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTarget:
    """The device and the library versions that decide what a stream of events costs.

    Attributes:
        gpu: catalogue name, None when only a budget or nothing at all was given.
        capacity_bytes: the most that the allocator may reserve, None for no limit.
        total_bytes: the device's memory as CUDA reports it, None without a limit.
        context_bytes: what the process holds outside the allocator, NCCL's buffers included.
        is_capped: whether `capacity_bytes` is a budget below what the device would give, as
            `torch.cuda.set_per_process_memory_fraction` sets it.
        compute_capability: (major, minor).
        multiprocessors: number of streaming multiprocessors.
        cudnn: (major, minor, patch).
        torch: version without the local part.
        profile: what was measured on that GPU with these versions, None where rules alone tell.
        uses_profiles: whether shipped profiles may be used at all.
        cudnn_benchmark: whether `torch.backends.cudnn.benchmark` is on.
        doubt_bytes: how much less the capacity may be, as GPU or context are assumed.
        origin: where GPU and budget come from, for people; empty where nobody names any.
        loop: what the training script does around the plain step.
    """

    gpu: str | None = None
    capacity_bytes: int | None = None
    total_bytes: int | None = None
    context_bytes: int = 0
    is_capped: bool = False
    compute_capability: tuple[int, int]
    multiprocessors: int
    cudnn: CudnnVersion
    torch: str
    profile: DeviceProfile | None = None
    uses_profiles: bool = True
    cudnn_benchmark: bool = False
    doubt_bytes: int = 0
    origin: str = ""
    loop: Loop = PLAIN

    def on(self, gpu: Gpu) -> "DeviceTarget":
        """Return the same library versions on a GPU of the catalogue, all of its memory free."""
        profile = self.profile
        if profile is None or not same_gpu(gpu, profile.gpu.name):
            profile = None
            if self.uses_profiles:
                profile = shipped_profile(gpu.name, self.torch, self.cudnn)
        moved = replace(
            self,
            gpu=gpu.name,
            total_bytes=gpu.total_bytes,
            compute_capability=gpu.compute_capability,
            multiprocessors=gpu.multiprocessors,
            profile=profile,
        )
        return _limited(moved, total_doubt_bytes=gpu.total_doubt_bytes)

    @property
    def cudnn_text(self) -> str:
        return dotted(self.cudnn)

    @property
    def capability_text(self) -> str:
        return dotted(self.compute_capability)

    @property
    def profile_words(self) -> str | None:
        """Which device profile the numbers stand on, None without one."""
        return None if self.profile is None else self.profile.words

    @property
    def rules(self) -> str:
        """What the workspaces stand on without a profile: what is measured, ruled and assumed."""
        if self.profile is not None:
            return ""
        _, like = generation_of(self.cudnn)
        other = f", which cuDNN {self.cudnn_text} is assumed to do" if self.cudnn != like else ""
        return (
            "none of this GPU with this cuDNN: workspaces by rules, with the engines that cuDNN "
            f"{dotted(like)} takes on an H200, measured{other}"
        )

    @property
    def context_doubt_bytes(self) -> int:
        """How much more the context may be: 0 where it was measured with this GPU and torch."""
        profile = self.profile
        if profile is None or self.gpu is None or not same_release(profile.torch, self.torch):
            return max(0, assumed_context().at_most_bytes - _context_bytes(profile))
        return 0


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
        return cudnn_of_number(numbers[0])
    if not 1 <= len(numbers) <= 4:
        raise InputError(f"{text!r} is no cuDNN version: write it like 9.1 or 9.10.2")
    major, minor, patch = [*numbers[:3], 0, 0][:3]
    return (major, minor, patch)


def cudnn_of_number(number: int) -> CudnnVersion:
    """Return the version of a CUDNN_VERSION, whose major counts ten thousands since 9."""
    base = 10000 if number >= 90000 else 1000
    return (number // base, number % base // 100, number % 100)


def make_target(
    *,
    torch: str,
    gpu: str | None = None,
    budget_bytes: int | None = None,
    process_bytes: int | None = None,
    cudnn: str | None = None,
    profile: str | None = None,
    cudnn_benchmark: bool = False,
    loop: Loop = PLAIN,
) -> DeviceTarget:
    """Return the target of the user's options.

    Args:
        torch: installed or assumed version; its default CUDA wheel decides cuDNN.
        gpu: a name or alias of the catalogue.
        budget_bytes: the most that the allocator may reserve; with a GPU, the smaller of the two.
        process_bytes: what the process may take in all, as nvidia-smi counts: the allocator's
            share and the CUDA context; with a GPU, the smaller of the two.
        cudnn: a version that overrides torch's.
        profile: the file of a device profile, whose GPU and versions are then the target's;
            "none" for rules alone; None for the shipped one of this GPU and these versions.
        cudnn_benchmark: whether `torch.backends.cudnn.benchmark` is on.
        loop: what the training script does around the plain step.

    Raises:
        InputError: the GPU or the cuDNN version is not known, the profile cannot be read or was
            measured on another GPU or cuDNN than the ones that are named.
    """
    total_doubt_bytes = 0
    if profile is not None and profile != NO_PROFILE:
        target = _profiled(Path(profile), gpu, cudnn)
    else:
        kernels = find_gpu(gpu if gpu is not None else DEFAULT_GPU)
        bare = DeviceTarget(
            compute_capability=kernels.compute_capability,
            multiprocessors=kernels.multiprocessors,
            cudnn=parse_cudnn(cudnn if cudnn is not None else cudnn_of_torch(torch)[0]),
            torch=torch.partition("+")[0],
            uses_profiles=profile is None,
        )
        target = bare.on(kernels)
        if gpu is None:
            target = replace(bare, profile=target.profile)
        else:
            total_doubt_bytes = kernels.total_doubt_bytes
    return _limited(
        replace(target, cudnn_benchmark=cudnn_benchmark, loop=loop),
        total_doubt_bytes=total_doubt_bytes,
        process_bytes=process_bytes,
        budget_bytes=budget_bytes,
    )


def _limited(
    target: DeviceTarget,
    *,
    total_doubt_bytes: int = 0,
    process_bytes: int | None = None,
    budget_bytes: int | None = None,
) -> DeviceTarget:
    """Return the target with what its allocator may reserve, and how much less that may be.

    Args:
        target: its total, its profile and what its loop holds decide.
        total_doubt_bytes: how much less the device's total may be.
        process_bytes: a limit of all that the process holds.
        budget_bytes: a limit of the allocator alone.
    """
    total = target.total_bytes
    wholes = [] if total is None else [(total, total - total_doubt_bytes)]
    if process_bytes is not None:
        wholes.append((process_bytes, process_bytes))
    held = target.loop.nccl_bytes
    if wholes:  # else nothing is taken off a whole, and nobody asks what the context is
        held += _context_bytes(target.profile)
    doubt = target.context_doubt_bytes + target.loop.nccl_doubt_bytes
    limits = [(most - held, least - held - doubt) for most, least in wholes]
    if budget_bytes is not None:
        limits.append((budget_bytes, budget_bytes))
    if not limits:
        return replace(target, context_bytes=held)
    # What the context alone exceeds, no step fits: that is an answer, not an error.
    most = max(1, min(most for most, _ in limits))
    least = max(0, min(least for _, least in limits))
    return replace(
        target,
        capacity_bytes=most,
        total_bytes=total or process_bytes or budget_bytes,
        context_bytes=held,
        is_capped=total is not None and most < total - held,
        doubt_bytes=most - least,
    )


def _context_bytes(profile: DeviceProfile | None) -> int:
    return assumed_context().nbytes if profile is None else profile.detector_context_bytes


def _profiled(path: Path, gpu: str | None, cudnn: str | None) -> DeviceTarget:
    """Return the machine that a profile was measured on, whether the catalogue has it or not."""
    profile = read_profile(path)
    if gpu is not None and not same_gpu(find_gpu(gpu), profile.gpu.name):
        raise InputError(f"--profile {path} was measured on {profile.gpu.name}, not on {gpu}")
    if cudnn is not None and parse_cudnn(cudnn) != profile.cudnn:
        raise InputError(
            f"--profile {path} was measured with cuDNN {dotted(profile.cudnn)}, not {cudnn}: leave "
            "out --cudnn"
        )
    known = gpu_called(profile.gpu.name)
    return DeviceTarget(
        gpu=known.name if known is not None else profile.gpu.name,
        total_bytes=profile.gpu.total_bytes,
        compute_capability=profile.gpu.compute_capability,
        multiprocessors=profile.gpu.multiprocessors,
        cudnn=profile.cudnn,
        torch=profile.torch.partition("+")[0],
        profile=profile,
    )
