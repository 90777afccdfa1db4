import pytest

from bevdiag.environment.gpus import Driver, GpuProcess, GpuState
from bevdiag.errors import InputError
from bevdiag.prediction import target
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.target import device_target, gpu_at_hand

GIB = 2**30


def gpu(
    index: int,
    used: int,
    *processes: GpuProcess,
    name: str = "NVIDIA H200",
) -> GpuState:
    return GpuState(
        index=index,
        name=name,
        compute_capability=(9, 0),
        total_bytes=140 * GIB,
        used_bytes=used,
        processes=processes,
    )


def at_hand() -> InspectOptions | None:
    """What the GPU at hand decides, None where there is none."""
    found = gpu_at_hand(InspectOptions())
    return found if found.origin else None


@pytest.fixture
def driver(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)

    def put(*gpus: GpuState) -> None:
        found = Driver(version="580.1", cuda=(13, 0), gpus=gpus)
        monkeypatch.setattr(target, "read_driver", lambda: found)

    return put


def test_what_is_free_counts_not_what_is_there(driver):
    holder = GpuProcess(pid=4711, name="python", nbytes=20 * GIB, computes=True)
    driver(gpu(0, 20 * GIB, holder))
    found = at_hand()
    assert found is not None
    assert found.gpu == "h200"
    assert found.process_bytes == 120 * GIB
    assert "120.00 GiB free; python (pid 4711) holds 20.00 GiB" in found.origin


def test_the_fullest_of_the_visible_gpus_decides(driver, monkeypatch):
    driver(gpu(0, 0), gpu(1, 90 * GIB), gpu(2, 10 * GIB))
    found = at_hand()
    assert found is not None
    assert "GPU 1" in found.origin
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    found = at_hand()
    assert found is not None
    assert "GPU 2" in found.origin


@pytest.mark.parametrize(
    ("wanted", "decides"),
    [("-1", None), ("1,-1,2", 1), ("7,1", None), ("2, 0", 2), ("GPU-8a1f", 1), ("0,0", 0)],
)
def test_visible_gpus_are_read_as_cuda_reads_them(driver, monkeypatch, wanted, decides):
    driver(gpu(0, 0), gpu(1, 90 * GIB), gpu(2, 10 * GIB))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wanted)
    found = at_hand()
    assert (found is None) is (decides is None)
    assert found is None or f"GPU {decides} at hand" in found.origin


def test_a_number_names_a_gpu_only_in_an_order_that_the_driver_shares(driver, monkeypatch):
    driver(gpu(0, 0), gpu(1, 90 * GIB, name="NVIDIA L4"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert "GPU 1 at hand" in at_hand().origin  # the fuller one: it may be the fastest
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert "GPU 0 at hand" in at_hand().origin


def test_a_torch_that_the_profile_was_not_measured_with_is_refused():
    profile = "configs/devices/h200-torch2.11-cudnn9.19.0.json"
    with pytest.raises(InputError, match=r"measured with torch 2\.11\.0, not 2\.1: leave out"):
        device_target(InspectOptions(profile=profile, torch="2.1"), "2.13.0")
    assert device_target(InspectOptions(profile=profile, torch="2.11.1"), "2.13.0").gpu == "h200"
    assert device_target(InspectOptions(profile=profile), "2.13.0").torch == "2.11.0"


def test_a_gpu_that_the_catalogue_lacks_still_has_a_budget(driver):
    driver(gpu(0, 0, name="Chip of tomorrow"))
    found = at_hand()
    assert found is not None
    assert found.gpu is None
    assert found.process_bytes == 140 * GIB


def test_no_driver_no_gpu_or_none_visible(driver, monkeypatch):
    driver()
    assert at_hand() is None
    driver(gpu(0, 0))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert at_hand() is None
    monkeypatch.setattr(target, "read_driver", lambda: None)
    assert at_hand() is None
