import pytest

from bevdiag.environment.gpus import Driver, GpuProcess, GpuState
from bevdiag.prediction import target
from bevdiag.prediction.target import gpu_at_hand

GIB = 2**30


def gpu(index: int, used: int, *processes: GpuProcess, name: str = "NVIDIA H200") -> GpuState:
    return GpuState(
        index=index,
        name=name,
        compute_capability=(9, 0),
        total_bytes=140 * GIB,
        used_bytes=used,
        processes=processes,
    )


@pytest.fixture
def driver(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def put(*gpus: GpuState) -> None:
        found = Driver(version="580.1", cuda=(13, 0), gpus=gpus)
        monkeypatch.setattr(target, "read_driver", lambda: found)

    return put


def test_what_is_free_counts_not_what_is_there(driver):
    holder = GpuProcess(pid=4711, name="python", nbytes=20 * GIB, computes=True)
    driver(gpu(0, 20 * GIB, holder))
    found = gpu_at_hand()
    assert found is not None
    assert found.gpu == "h200"
    assert found.process_bytes == 120 * GIB
    assert "120.00 GiB free; python (pid 4711) holds 20.00 GiB" in found.origin


def test_the_fullest_of_the_visible_gpus_decides(driver, monkeypatch):
    driver(gpu(0, 0), gpu(1, 90 * GIB), gpu(2, 10 * GIB))
    found = gpu_at_hand()
    assert found is not None
    assert "GPU 1" in found.origin
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    found = gpu_at_hand()
    assert found is not None
    assert "GPU 2" in found.origin


def test_a_gpu_that_the_catalogue_lacks_still_has_a_budget(driver):
    driver(gpu(0, 0, name="Chip of tomorrow"))
    found = gpu_at_hand()
    assert found is not None
    assert found.gpu is None
    assert found.process_bytes == 140 * GIB


def test_no_driver_no_gpu_or_none_visible(driver, monkeypatch):
    driver()
    assert gpu_at_hand() is None
    driver(gpu(0, 0))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_at_hand() is None
    monkeypatch.setattr(target, "read_driver", lambda: None)
    assert gpu_at_hand() is None
