"""Failures that neither memory nor a config explains: known by their words, each with advice."""

import pytest

from bevdiag.explain.answer import FailureKind
from bevdiag.explain.decode import ADVICE, decode
from bevdiag.explain.messages import heads, read_log

ASSERTION = (
    "IndexKernel.cu:92: operator(): block: [1,0,0], thread: [2,0,0] Assertion `index >= -sizes[i] "
    '&& index < sizes[i] && "index out of bounds"` failed.\n'
)
CASES = [
    ("IndexError: index 3 is out of bounds for dimension 0 with size 3", FailureKind.INDEX),
    ("IndexError: index -1 is out of bounds for dimension 0 with size 3", FailureKind.INDEX),
    ("IndexError: index 9 is out of bounds for axis 0 with size 9", FailureKind.INDEX),
    (f"{ASSERTION}RuntimeError: CUDA error: device-side assert triggered", FailureKind.INDEX),
    (
        "    ids = [self.class_names.index(n) for n in names]\nValueError: 'Van' is not in list",
        FailureKind.CLASS_NAME,
    ),
    ("ValueError: Loss is nan, stopping", FailureKind.NAN),
    ("RuntimeError: Function 'LogBackward0' returned nan values in its 0th output.",
     FailureKind.NAN),
    ("RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", FailureKind.CUDNN_OTHER),
    ("cuDNN error: CUDNN_STATUS_MAPPING_ERROR", FailureKind.CUDNN_OTHER),
    ("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. A non-contiguous input?", FailureKind.CUDNN_INPUT),
    ("cuDNN Frontend error: [cudnn_frontend] Error: No execution plans support the graph.",
     FailureKind.CUDNN_INPUT),
    ("cuDNN version incompatibility: compiled against (8, 7, 0) but found (8, 5, 0)",
     FailureKind.CUDNN_VERSION),
    ("RuntimeError: No CUDA GPUs are available", FailureKind.GPU),
    ("Failed to initialize NVML: Driver/library version mismatch", FailureKind.GPU),
    ("CUDA error: invalid device ordinal", FailureKind.GPU),
    ("RuntimeError: Error(s) in loading state_dict for Toy:", FailureKind.CHECKPOINT),
    ("stack expects each tensor to be equal size, but got [5, 7] at entry 0",
     FailureKind.COLLATE),
    ("'EasyDict' object has no attribute 'LAYER_NUMS'", FailureKind.CONFIG_KEY),
    ("Expected more than 1 value per channel when training, got [1, 4]", FailureKind.ONE_SAMPLE),
    ("AttributeError: module 'numpy' has no attribute 'bool'.", FailureKind.NUMPY),
    ("libstdc++.so.6: version `GLIBCXX_3.4.29' not found", FailureKind.LIBRARY),
    ("RuntimeError: received 0 items of ancdata", FailureKind.DESCRIPTORS),
    ("NCCL error in: x.cpp:1, unhandled system error, NCCL version 2.7.8", FailureKind.NCCL_OTHER),
    ("[Rank 1] Watchdog caught collective operation timeout: ran for 1800 s",
     FailureKind.NCCL_OTHER),
    ("DataLoader worker (pid(s) 4, 5) exited unexpectedly", FailureKind.WORKER_ENDED),
    ("DataLoader worker (pid 4) is killed by signal: Aborted.", FailureKind.WORKER_ENDED),
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind"), CASES)
def test_a_text_is_known_and_has_its_advice(text: str, kind: FailureKind) -> None:
    (failure,) = read_log(f"epoch 1\n{text}\n")
    assert failure.kind is kind
    assert ADVICE[kind] in decode(failure)


def test_every_kind_has_a_text_and_every_text_its_advice() -> None:
    kinds = {kind for later in (False, True) for kind, _ in heads(later=later)}
    assert kinds | {FailureKind.FEATURES} == set(ADVICE)


def test_what_follows_from_another_failure_counts_only_without_it() -> None:
    later = "RuntimeError: NCCL error in: x.cpp:1, unhandled cuda error"
    memory = "Cuda failure 2 'out of memory'"
    assert read_log(f"{memory}\n{later}")[-1].kind is FailureKind.NCCL
    assert read_log(later)[-1].kind is FailureKind.NCCL_OTHER


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
        assert (failure.kind, failure.codes) == (FailureKind.FEATURES, ())


def test_an_index_of_a_head_is_a_label_and_one_before_it_a_voxel() -> None:
    assertion = "CUDA error: device-side assert triggered"
    head = "dense_heads/target_assigner/axis_aligned_target_assigner.py"
    (failure,) = read_log(_traceback(head, assertion))
    assert (failure.kind, failure.stack.part, failure.codes) == (
        FailureKind.INDEX,
        "dense_head",
        (),
    )
    (failure,) = read_log(_traceback("backbones_3d/dsvt.py", assertion))
    assert failure.codes == ("BEV104",)
