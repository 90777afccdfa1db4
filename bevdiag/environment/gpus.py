"""What the NVIDIA driver says: its version, the GPUs, and who holds their memory."""

import os
from collections.abc import Iterator
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
    """One GPU as NVML sees it; `used_bytes` counts what the driver itself reserves, too.

    `is_partitioned` tells that MIG has cut it into instances, of which a process sees one.
    """

    index: int
    name: str
    compute_capability: tuple[int, int]
    total_bytes: int
    used_bytes: int
    processes: tuple[GpuProcess, ...]
    is_partitioned: bool = False


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
            gpus=tuple(_gpu(pynvml, i) for i in range(pynvml.nvmlDeviceGetCount())),
        )
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _gpu(nvml: Any, index: int) -> GpuState:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    return GpuState(
        index=index,
        name=_text(nvml.nvmlDeviceGetName(handle)),
        compute_capability=(major, minor),
        total_bytes=memory.total,
        used_bytes=memory.used,
        processes=tuple(_processes(nvml, handle)),
        is_partitioned=_is_partitioned(nvml, handle),
    )


def _is_partitioned(nvml: Any, handle: Any) -> bool:
    try:
        current, _ = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError:
        return False  # a GPU that knows no MIG
    return bool(current == nvml.NVML_DEVICE_MIG_ENABLE)


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
