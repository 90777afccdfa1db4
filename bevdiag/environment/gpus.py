"""What the NVIDIA driver says: its version, the GPUs, and who holds their memory."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bevdiag.environment.wheels import CudaVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProcess:
    """A process that holds memory on a GPU.

    `nbytes` is None where the driver does not tell, as from inside a container. `computes` is
    False for one that only draws.
    """

    pid: int
    name: str
    nbytes: int | None
    computes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuState:
    """One GPU, or a MIG instance of it, as NVML sees it.

    `used_bytes` counts what the driver itself reserves, too.
    """

    index: int
    name: str
    compute_capability: tuple[int, int]
    total_bytes: int
    used_bytes: int
    processes: tuple[GpuProcess, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """The NVIDIA driver, the newest CUDA that it runs, and its GPUs."""

    version: str
    cuda: CudaVersion
    gpus: tuple[GpuState, ...] = ()


def read_driver() -> Driver | None:
    """Ask NVML; None where there is no driver, or none that answers."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        number = pynvml.nvmlSystemGetCudaDriverVersion()
        return Driver(
            version=_text(pynvml.nvmlSystemGetDriverVersion()),
            cuda=(number // 1000, number % 1000 // 10),
            gpus=tuple(gpu for i in range(pynvml.nvmlDeviceGetCount()) for gpu in _gpus(pynvml, i)),
        )
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _gpus(nvml: Any, index: int) -> Iterator[GpuState]:
    """Yield the GPU, or its MIG instances where it is split: CUDA then sees those alone."""
    card = nvml.nvmlDeviceGetHandleByIndex(index)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(card)
    for handle in _devices(nvml, card):
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        yield GpuState(
            index=index,
            name=_text(nvml.nvmlDeviceGetName(handle)),
            compute_capability=(major, minor),
            total_bytes=memory.total,
            used_bytes=memory.used,
            processes=tuple(_processes(nvml, handle)),
        )


def _devices(nvml: Any, card: Any) -> Iterator[Any]:
    try:
        is_split = nvml.nvmlDeviceGetMigMode(card)[0]
    except nvml.NVMLError:  # most cards cannot be split
        is_split = False
    if not is_split:
        yield card
        return
    for instance in range(nvml.nvmlDeviceGetMaxMigDeviceCount(card)):
        with suppress(nvml.NVMLError):  # fewer are made than may be
            yield nvml.nvmlDeviceGetMigDeviceHandleByIndex(card, instance)


def _processes(nvml: Any, handle: Any) -> Iterator[GpuProcess]:
    seen = {os.getpid()}
    queries = (
        (nvml.nvmlDeviceGetComputeRunningProcesses, True),
        (nvml.nvmlDeviceGetGraphicsRunningProcesses, False),
    )
    for query, computes in queries:
        try:
            running = query(handle)
        except nvml.NVMLError:
            continue  # MIG slices and some virtual GPUs do not tell
        for process in running:
            if process.pid not in seen:
                seen.add(process.pid)
                yield GpuProcess(
                    pid=process.pid,
                    name=_process_name(nvml, process.pid),
                    nbytes=process.usedGpuMemory,
                    computes=computes,
                )


def _process_name(nvml: Any, pid: int) -> str:
    try:
        return _text(nvml.nvmlSystemGetProcessName(pid))
    except nvml.NVMLError:
        return ""


def _text(value: str | bytes) -> str:
    # Old bindings return bytes.
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
