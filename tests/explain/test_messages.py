"""Messages of every age, taken apart."""

import pytest

from bevdiag.explain.answer import Failure, Stack
from bevdiag.explain.kinds import Kind, kinds
from bevdiag.explain.messages import parse_figure, read_log

GIB, MIB = 2**30, 2**20

TODAY = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 22.78 GiB. GPU 0 has a total "
    "capacity of 31.47 GiB of which 12.73 GiB is free. Process 11 has 1.00 GiB memory in use. "
    "Including non-PyTorch memory, this process has 18.73 GiB memory in use. 20.00 GiB allowed; "
    "Of the allocated memory 9.08 GiB is allocated by PyTorch, with 1.00 GiB allocated in private "
    "pools (e.g., CUDA Graphs), and 9.35 GiB is reserved by PyTorch but unallocated. If reserved "
    "but unallocated memory is large try setting PYTORCH_ALLOC_CONF=expandable_segments:True"
)
OF_2021 = (
    "RuntimeError: CUDA out of memory. Tried to allocate 128.00 MiB (GPU 1; 11.17 GiB total "
    "capacity; 10.85 GiB already allocated; 24.81 MiB free; 10.86 GiB reserved in total by PyTorch)"
)
OF_2019 = (
    "RuntimeError: CUDA out of memory. Tried to allocate 12.50 MiB (GPU 0; 10.92 GiB total "
    "capacity; 8.57 MiB already allocated; 9.28 GiB free; 4.68 MiB cached)"
)
MISSPELT = (
    "CUDA out of memory. Tried to allocate 55.57 GiB. GPU 0 has a total capacty of 12.00 GiB of "
    "which 0 bytes is free. Of the allocated memory 984.52 MiB is allocated by PyTorch, and 463.48 "
    "MiB is reserved by PyTorch but unallocated."
)
ASYNC = (
    "torch.OutOfMemoryError: Allocation on device 0 would exceed allowed memory. (out of memory)\n"
    "Currently allocated     : 6.00 GiB\nRequested               : 1.50 GiB\n"
    "Device limit            : 7.79 GiB\nFree (according to CUDA): 12.12 MiB\n"
)


def _read(text: str) -> Failure:
    (failure,) = read_log(text)
    return failure


def test_todays_message() -> None:
    failure = _read(TODAY)
    assert failure.kind is kinds()["allocator"]
    assert (failure.device, failure.line) == (0, 1)
    figures = (failure.requested, failure.total, failure.free, failure.in_use, failure.allowed)
    assert [figure.text for figure in figures if figure] == [
        *("22.78 GiB", "31.47 GiB", "12.73 GiB", "18.73 GiB", "20.00 GiB")
    ]
    assert failure.allocated is not None
    assert failure.allocated.text == "9.08 GiB"
    assert failure.unallocated is not None
    assert failure.unallocated.text == "9.35 GiB"
    assert [(pid, held.text) for pid, held in failure.others] == [(11, "1.00 GiB")]
    assert failure.capacity_bytes == pytest.approx(20 * GIB, rel=1e-3)


def test_the_message_of_2021() -> None:
    failure = _read(OF_2021)
    assert failure.device == 1
    assert failure.reserved_bytes == pytest.approx(10.86 * GIB, rel=1e-3)
    assert failure.unallocated_bytes == pytest.approx(0.01 * GIB, rel=0.1)
    assert failure.capacity_bytes == pytest.approx(10.86 * GIB + 24.81 * MIB, rel=1e-3)


def test_the_message_of_2019() -> None:
    failure = _read(OF_2019)
    assert failure.requested is not None
    assert failure.requested.text == "12.50 MiB"
    assert failure.unallocated_bytes == pytest.approx(4.68 * MIB, rel=1e-2)


def test_the_years_that_misspelt_capacity_and_had_nothing_free() -> None:
    failure = _read(MISSPELT)
    assert failure.total is not None
    assert failure.total.text == "12.00 GiB"
    assert failure.free is not None
    assert failure.free.middle_bytes == 0


def test_a_message_that_was_wrapped_by_a_terminal() -> None:
    wrapped = TODAY.replace(" ", "\n", 40)
    assert _read(wrapped).unallocated == _read(TODAY).unallocated


def test_the_asynchronous_allocators_message() -> None:
    failure = _read(ASYNC)
    assert failure.kind is kinds()["async_allocator"]
    assert failure.requested is not None
    assert failure.requested.text == "1.50 GiB"


@pytest.mark.parametrize(
    ("text", "kind", "requested"),
    [
        (
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            kinds()["cublas"],
            None,
        ),
        ("RuntimeError: cuDNN error: CUDNN_STATUS_ALLOC_FAILED", kinds()["cudnn"], None),
        (
            "RuntimeError: GET was unable to find an engine to execute this computation",
            kinds()["no_engine"],
            None,
        ),
        ("NCCL WARN Failed to CUDA calloc 6291456 bytes", kinds()["nccl"], 6291456),
        (
            "RuntimeError: tensorview/tensor.h(171) cuda failed with error 2 out of memory.",
            kinds()["spconv"],
            None,
        ),
        ("RuntimeError: CUDA error: out of memory", kinds()["driver"], None),
        (
            "[enforce fail at alloc_cpu.cpp:114] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 80640000000 bytes. Error code 12",
            kinds()["host"],
            80_640_000_000,
        ),
        (
            "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8.00 KiB for an array",
            kinds()["host"],
            8192,
        ),
        ("MemoryError: Unable to allocate 122. MiB for an array", kinds()["host"], 122 * MIB),
        ("OSError: [Errno 12] Cannot allocate memory", kinds()["host"], None),
        ("MemoryError", kinds()["host"], None),
        ("GPUassert: out of memory x.cpp 9", kinds()["driver"], None),
        (
            "terminate called after throwing an instance of 'thrust::system::detail::bad_alloc'\n"
            "  what():  std::bad_alloc: out of memory",
            kinds()["driver"],
            None,
        ),
        ("CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", kinds()["cudnn"], None),
        ("CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED", kinds()["host"], None),
        ("cuda runtime error (2) : out of memory at x.cu:9", kinds()["driver"], None),
        (
            "cuda runtime error (2) : out of memory at /x/THC/generic/THCStorage.cu:9",
            kinds()["allocator"],
            None,
        ),
        (
            "CUDA error: out of memory (malloc at /x/c10/cuda/CUDACachingAllocator.cpp:9)",
            kinds()["allocator"],
            None,
        ),
        ("NCCL WARN Failed to CUDA calloc async 512 bytes", kinds()["nccl"], 512),
        ("$ Torch: not enough memory: you tried to allocate 3GB.", kinds()["host"], None),
        (
            "MemoryError: Unable to allocate array with shape (3, 4) and data type float32",
            kinds()["host"],
            None,
        ),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: 'shm://scene_7'",
            kinds()["shared_memory"],
            None,
        ),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/dev/shm/scene_7.npy'",
            kinds()["shared_memory"],
            None,
        ),
        ("cuda execution failed with error 2", kinds()["spconv"], None),
        ("N > 0 assert faild. blocks must be positive, but got N= 0", kinds()["no_voxel"], None),
        ("epoch 1\nKilled", kinds()["killed"], None),
        ("run.sh: line 4:  811 Killed    python train.py", kinds()["killed"], None),
        ("slurmstepd: error: Detected 1 oom-kill event", kinds()["killed"], None),
        ("exitcode  : -9 (pid: 3)\ntraceback : Signal 9 (SIGKILL)", kinds()["killed"], None),
        ("Bus error (core dumped)", kinds()["shared_memory"], None),
        ("unable to write to file </torch_3_9>", kinds()["shared_memory"], None),
        (
            "It is possible that workers are out of shared memory (shm)",
            kinds()["shared_memory"],
            None,
        ),
        (
            "RuntimeError: DataLoader worker (pid 4711) is killed by signal: Killed.",
            kinds()["worker"],
            None,
        ),
    ],
)
def test_other_libraries(text: str, kind: Kind, requested: int | None) -> None:
    failure = _read(text)
    assert failure.kind is kind
    if requested is None:
        assert failure.requested is None
    else:
        assert failure.requested is not None
        assert failure.requested.holds(requested)


@pytest.mark.parametrize("text", ["", "loss: 1.0", "RuntimeError: expected 4 channels"])
def test_what_is_no_failure_for_lack_of_memory(text: str) -> None:
    assert read_log(text) == ()


def test_a_process_that_was_killed_after_it_said_why() -> None:
    failure = _read(f"{TODAY}\nKilled")
    assert failure.kind is kinds()["allocator"]


def test_figures_of_numpy_keep_their_point() -> None:
    figure = parse_figure("122. MiB")
    assert figure.holds(122 * MIB + MIB // 3)
    assert not figure.holds(123 * MIB)


def test_a_figure_stands_for_all_that_print_like_it() -> None:
    figure = parse_figure("75.10 GiB")
    assert figure.holds(80_640_000_000)
    assert f"{figure.low_bytes / GIB:.2f}" == f"{figure.high_bytes / GIB:.2f}" == "75.10"
    assert f"{(figure.low_bytes - 1) / GIB:.4f}" == "75.0950"
    exact = parse_figure("512 bytes")
    assert exact.low_bytes == exact.high_bytes == 512


OOM = "CUDA out of memory. Tried to allocate {} MiB."
TRACEBACK = """Traceback (most recent call last):
  File "/home/me/OpenPCDet/tools/train.py", line 229, in main
    train_model(
  File "/home/me/OpenPCDet/pcdet/models/backbones_2d/base_bev_backbone.py", line 92, in forward
    x = self.blocks[i](x)
  File "/venv/lib/python3.10/site-packages/torch/nn/modules/container.py", line 215, in forward
    input = module(input)
  File "/venv/lib/python3.10/site-packages/torch/nn/modules/conv.py", line 463, in forward
    return self._conv_forward(input, self.weight, self.bias)
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 75.10 GiB.
"""
BACKWARD = """Traceback (most recent call last):
  File "/home/me/OpenPCDet/tools/train_utils/train_utils.py", line 50, in train_one_epoch
    loss.backward()
  File "/venv/lib/python3.10/site-packages/torch/_tensor.py", line 522, in backward
  File "/venv/lib/python3.10/site-packages/torch/autograd/__init__.py", line 266, in backward
RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB
"""


def test_the_last_message_of_each_process_counts() -> None:
    lines = [
        "epoch 1",
        f"[rank0]: {OOM.format('20.00')}",
        f"[rank1]: {OOM.format('30.00')}",
        f"[rank0]: {OOM.format('40.00')}",
    ]
    first, last = read_log("\n".join(lines))
    assert (first.rank, first.line) == ("1", 3)
    assert (last.rank, last.line) == ("0", 4)
    assert last.requested is not None
    assert last.requested.text == "40.00 MiB"


@pytest.mark.parametrize(
    "prefix",
    ["[default3]:", "[rank3]: ", "[default3]:[rank3]: ", "[rank: 3] ", "[1,3]<stderr>:", "3: "],
)
def test_every_launchers_prefix(prefix: str) -> None:
    text = "".join(f"{prefix}{line}\n" for line in TRACEBACK.splitlines())
    (failure,) = read_log(text)
    assert failure.rank == "3"
    assert failure.stack.part == "backbone_2d"


def test_a_traceback_tells_phase_part_and_layer() -> None:
    (failure,) = read_log(TRACEBACK)
    frame = "/home/me/OpenPCDet/pcdet/models/backbones_2d/base_bev_backbone.py:92"
    assert failure.stack == Stack(phase="forward", part="backbone_2d", layer="conv", frame=frame)


def test_a_backward_pass_has_no_layer() -> None:
    (failure,) = read_log(f"{TRACEBACK}\nresumed\n{BACKWARD}")
    assert failure.stack.phase == "backward"
    assert (failure.stack.part, failure.stack.layer) == ("", "")


def test_colours_of_a_terminal_do_not_matter() -> None:
    (failure,) = read_log(f"\x1b[31m{OOM.format('20.00')}\x1b[0m")
    assert failure.requested is not None


def test_a_hostile_text_takes_no_longer() -> None:
    assert read_log("expected input" * 20_000) == ()
