"""What is made of NVML's answers; NVML itself has a stub."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from bevdiag.environment.gpus import read_driver


class _Error(Exception):
    """NVML's."""


def _nvml(**changes: Any) -> ModuleType:
    def refuse(handle: object) -> list[object]:
        raise _Error

    module = ModuleType("pynvml")
    answers: dict[str, Any] = {
        "NVMLError": _Error,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlSystemGetCudaDriverVersion": lambda: 12040,
        "nvmlSystemGetDriverVersion": lambda: b"550.54.15",
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=24 * 2**30, used=2**30),
        "nvmlDeviceGetCudaComputeCapability": lambda handle: (8, 9),
        "nvmlDeviceGetName": lambda handle: "NVIDIA L4",
        "nvmlDeviceGetComputeRunningProcesses": lambda handle: [
            SimpleNamespace(pid=11, usedGpuMemory=None)
        ],
        "nvmlDeviceGetGraphicsRunningProcesses": refuse,
        "nvmlSystemGetProcessName": lambda pid: "python",
        "nvmlDeviceGetMigMode": refuse,
    }
    for name, answer in (answers | changes).items():
        setattr(module, name, answer)
    return module


def test_a_gpu_and_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", _nvml())
    driver = read_driver()
    assert driver is not None
    assert (driver.version, driver.cuda) == ("550.54.15", (12, 4))
    (gpu,) = driver.gpus
    assert gpu.compute_capability == (8, 9)
    (process,) = gpu.processes
    assert (process.pid, process.name, process.nbytes, process.computes) == (
        11,
        "python",
        None,
        True,
    )


def test_no_driver_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise _Error

    monkeypatch.setitem(sys.modules, "pynvml", _nvml(nvmlInit=refuse))
    assert read_driver() is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert read_driver() is None


def test_of_a_card_that_is_split_its_instances_are_the_gpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def instance(card: int, number: int) -> str:
        if number > 1:
            raise _Error
        return f"{card}/{number}"

    def memory(handle: object) -> SimpleNamespace:
        return SimpleNamespace(total=(80 if handle == 0 else 40) * 2**30, used=2**30)

    nvml = _nvml(
        nvmlDeviceGetMigMode=lambda card: [1, 1],
        nvmlDeviceGetMaxMigDeviceCount=lambda card: 7,
        nvmlDeviceGetMigDeviceHandleByIndex=instance,
        nvmlDeviceGetMemoryInfo=memory,
        nvmlDeviceGetName=lambda handle: f"A100 MIG {handle}",
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    driver = read_driver()
    assert driver is not None
    assert [gpu.name for gpu in driver.gpus] == ["A100 MIG 0/0", "A100 MIG 0/1"]
    assert {gpu.total_bytes for gpu in driver.gpus} == {40 * 2**30}
