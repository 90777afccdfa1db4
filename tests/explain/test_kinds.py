"""Failures that neither memory nor a config explains: known by their words, each with advice."""

import pytest

from bevdiag.explain.decode import decode
from bevdiag.explain.kinds import Kind, kinds
from bevdiag.explain.messages import read_log

ASSERTION = (
    "IndexKernel.cu:92: operator(): block: [1,0,0], thread: [2,0,0] Assertion `index >= -sizes[i] "
    '&& index < sizes[i] && "index out of bounds"` failed.\n'
)
CASES = [
    ("IndexError: index 3 is out of bounds for dimension 0 with size 3", kinds()["index"]),
    ("IndexError: index -1 is out of bounds for dimension 0 with size 3", kinds()["index"]),
    ("IndexError: index 9 is out of bounds for axis 0 with size 9", kinds()["index"]),
    (f"{ASSERTION}RuntimeError: CUDA error: device-side assert triggered", kinds()["index"]),
    (
        "    ids = [self.class_names.index(n) for n in names]\nValueError: 'Van' is not in list",
        kinds()["class_name"],
    ),
    ("ValueError: Loss is nan, stopping", kinds()["nan"]),
    ("RuntimeError: Function 'LogBackward0' returned nan values in its 0th output.",
     kinds()["nan"]),
    ("RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", kinds()["cudnn_other"]),
    ("cuDNN error: CUDNN_STATUS_MAPPING_ERROR", kinds()["cudnn_other"]),
    ("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
     kinds()["not_started"]),
    ("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED", kinds()["not_started"]),
    ("cuDNN error: CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH", kinds()["cudnn_version"]),
    ("RuntimeError: [/x/gloo/transport/tcp/pair.cc:5] Connection closed by peer [::1]:9",
     kinds()["nccl_other"]),
    ("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. A non-contiguous input?", kinds()["cudnn_input"]),
    ("cuDNN Frontend error: [cudnn_frontend] Error: No execution plans support the graph.",
     kinds()["cudnn_input"]),
    ("cuDNN version incompatibility: compiled against (8, 7, 0) but found (8, 5, 0)",
     kinds()["cudnn_version"]),
    ("RuntimeError: No CUDA GPUs are available", kinds()["gpu"]),
    ("Failed to initialize NVML: Driver/library version mismatch", kinds()["gpu"]),
    ("CUDA error: invalid device ordinal", kinds()["gpu"]),
    ("RuntimeError: Error(s) in loading state_dict for Toy:", kinds()["checkpoint"]),
    ("stack expects each tensor to be equal size, but got [5, 7] at entry 0",
     kinds()["collate"]),
    ("'EasyDict' object has no attribute 'LAYER_NUMS'", kinds()["config_key"]),
    ("Expected more than 1 value per channel when training, got [1, 4]", kinds()["one_sample"]),
    ("AttributeError: module 'numpy' has no attribute 'bool'.", kinds()["numpy"]),
    ("libstdc++.so.6: version `GLIBCXX_3.4.29' not found", kinds()["library"]),
    ("RuntimeError: received 0 items of ancdata", kinds()["descriptors"]),
    ("NCCL error in: x.cpp:1, unhandled system error, NCCL version 2.7.8", kinds()["nccl_other"]),
    ("[Rank 1] Watchdog caught collective operation timeout: ran for 1800 s",
     kinds()["nccl_other"]),
    ("DataLoader worker (pid(s) 4, 5) exited unexpectedly", kinds()["worker_ended"]),
    ("DataLoader worker (pid 4) is killed by signal: Aborted.", kinds()["worker_ended"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind"), CASES)
def test_a_text_is_known_and_has_its_advice(text: str, kind: Kind) -> None:
    (failure,) = read_log(f"epoch 1\n{text}\n")
    assert failure.kind is kind
    assert kind.says in decode(failure)


def test_every_kind_can_be_recognised_and_explains_itself() -> None:
    for name, kind in kinds().items():
        assert kind.texts or kind.head or kind.bare, name
        assert kind.says or name == "allocator", name


def test_what_follows_from_another_failure_counts_only_without_it() -> None:
    later = "RuntimeError: NCCL error in: x.cpp:1, unhandled cuda error"
    memory = "Cuda failure 2 'out of memory'"
    assert read_log(f"{memory}\n{later}")[-1].kind is kinds()["nccl"]
    assert read_log(later)[-1].kind is kinds()["nccl_other"]


def _traceback(file: str, error: str) -> str:
    return (
        "Traceback (most recent call last):\n"
        f'  File "/x/pcdet/models/{file}", line 1, in forward\n'
        f"RuntimeError: {error}\n"
    )


def test_what_the_voxel_encoder_cannot_multiply_is_the_points_features() -> None:
    for error in (
        "mat1 and mat2 shapes cannot be multiplied (90x11 and 10x64)",
        "size mismatch, m1: [90 x 11], m2: [10 x 64] at x.cu:9",
        "mat1 dim 1 must match mat2 dim 0",
    ):
        (failure,) = read_log(_traceback("backbones_3d/vfe/pillar_vfe.py", error))
        assert (failure.kind, failure.codes) == (kinds()["features"], ())


def test_an_index_of_a_head_is_a_label_and_one_before_it_a_voxel() -> None:
    assertion = "CUDA error: device-side assert triggered"
    head = "dense_heads/target_assigner/axis_aligned_target_assigner.py"
    (failure,) = read_log(_traceback(head, assertion))
    assert (failure.kind, failure.stack.part, failure.codes) == (
        kinds()["index"],
        "dense_head",
        (),
    )
    (failure,) = read_log(_traceback("backbones_3d/dsvt.py", assertion))
    assert failure.codes == ("BEV104",)


@pytest.mark.parametrize(
    "text",
    [
        "requests.exceptions.ConnectionError: (104, 'Connection reset by peer')",
        "urllib.error.URLError: <urlopen error [Errno 104] Connection reset by peer>",
        "FileNotFoundError: [Errno 2] No such file or directory: ':/usr/local/cuda/bin/nvcc'",
        "api.py: Unable to shutdown process 4 via Signals.SIGTERM, forcefully exiting via "
        "Signals.SIGKILL",
    ],
)
def test_a_text_of_something_else_is_not_taken_for_a_known_failure(text: str) -> None:
    assert read_log(text) == ()


def test_what_follows_or_says_nothing_is_not_the_logs_failure_though_it_stands_last() -> None:
    memory = "[rank0]: Cuda failure 2 'out of memory'"
    for last in ("[rank1]: RuntimeError: NCCL error in: x.cpp:1", "[rank1]: Killed"):
        assert [one.rank for one in read_log(f"{memory}\n{last}")] == ["1", "0"]


def test_a_traceback_outside_of_the_detector_asks_for_no_rule_about_its_parts() -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "/x/pcdet/datasets/augmentor/database_sampler.py", line 9, in __call__\n'
        "{}\n"
    )
    for error in (
        "TypeError: 'int' object is not iterable",
        "RuntimeError: The size of tensor a (9) must match the size of tensor b (8) at "
        "non-singleton dimension 1",
    ):
        assert read_log(error)[-1].codes
        assert read_log(text.format(error))[-1].codes == ()
