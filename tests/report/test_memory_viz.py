"""Snapshots, read by PyTorch's own tools and held to what the viewer's unpickler knows."""

import pickle
import pickletools
from collections import Counter

import pytest
from torch.cuda import _memory_viz as viewer

from bevdiag.memory.events import Alloc, Category, Phase
from bevdiag.memory.history import Action, AllocatorAction, FilledBlock, FilledSegment, History
from bevdiag.report.memory_viz import memory_viz

MIB = 2**20
TOP = 1 << 47
# torch/utils/viz/MemoryViz.js: the cases of its function `unpickle`.
KNOWN_OPCODES = """
    PROTO APPEND APPENDS LIST TUPLE NEWFALSE NEWTRUE NONE BINGET BININT BININT1 BININT2 EMPTY_DICT
    EMPTY_LIST FRAME LONG1 LONG_BINGET MARK MEMOIZE BINPUT LONG_BINPUT SETITEMS SETITEM DICT
    SHORT_BINUNICODE BINUNICODE STOP EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 BINFLOAT
"""


def owner(module="backbone_2d.blocks.0.1", op="aten::convolution", category="activation"):
    return Alloc(
        block=1,
        nbytes=0,
        module=module,
        op=op,
        category=Category(category),
        phase=Phase.FORWARD,
        step=2,
        shape=(1, 128, 200, 500),
        dtype="float32",
    )


def entry(action, address, nbytes, cause, free_bytes=0):
    return AllocatorAction(
        action=Action(action), address=address, nbytes=nbytes, free_bytes=free_bytes, cause=cause
    )


@pytest.fixture
def snapshot():
    segment, conv, weight = TOP - 20 * MIB, owner(), owner("head", "load", "parameter")
    held = FilledBlock(address=segment, size=6 * MIB, nbytes=6 * MIB - 100, cause=weight)
    free = FilledBlock(address=segment + 6 * MIB, size=14 * MIB, nbytes=0, cause=None)
    return History(
        entries=(
            entry("segment_alloc", segment, 20 * MIB, weight),
            entry("alloc", segment, 6 * MIB - 100, weight),
            entry("alloc", segment + 6 * MIB, 4 * MIB, conv),
            entry("free_completed", segment + 6 * MIB, 4 * MIB, conv),
            entry("oom", 0, 90 * MIB, owner("a\x1b[2Jb", "cat"), free_bytes=5 * MIB),
        ),
        segments=(
            FilledSegment(address=segment, size=20 * MIB, is_small=False, blocks=(held, free)),
        ),
    )


@pytest.fixture
def loaded(snapshot):
    return pickle.loads(memory_viz(snapshot))


def test_the_viewers_unpickler_knows_every_opcode(snapshot):
    data = memory_viz(snapshot)
    used = list(pickletools.genops(data))
    assert {opcode.name for opcode, _, _ in used} <= set(KNOWN_OPCODES.split())
    assert used[0][1] == 4


def test_pytorch_reads_it(loaded):
    assert "total_reserved: 20.0MiB" in viewer.segsum(loaded)
    assert "total_allocated: 6.0MiB" in viewer.segsum(loaded)
    trace = viewer.trace(loaded)
    assert "cudaMalloc(140737467383808, 20.0MiB)" in trace
    assert "raise OutOfMemoryError # 90.0MiB requested, 5.0MiB free in CUDA" in trace
    assert "base64" in viewer.trace_plot(loaded)
    assert "base64" in viewer.segment_plot(loaded)


def test_every_block_is_reported_with_its_module_and_tensor(loaded):
    flames = viewer.memory(loaded, format_flamegraph=lambda lines: lines)
    assert (
        "stream_0;active_allocated;step 2, forward:0:float32 1 x 128 x 200 x 500;head:0:load "
        f"{6 * MIB - 100}\n" in flames
    )
    for event in loaded["device_traces"][0]:
        module, tensor = event["frames"]
        assert module["filename"]
        assert module["name"]
        assert tensor["filename"] == "step 2, forward"


def test_a_free_has_both_its_halves_and_categories_include_the_viewers_own(loaded):
    events = loaded["device_traces"][0]
    assert Counter(event["action"] for event in events) == {
        "segment_alloc": 1,
        "alloc": 2,
        "free_requested": 1,
        "free_completed": 1,
        "oom": 1,
    }
    assert {event["category"] for event in events} == {"unknown", "parameter", "activation"}
    assert events[-1]["device_free"] == 5 * MIB


def test_no_name_brings_a_control_character_along(loaded):
    module, _ = loaded["device_traces"][0][-1]["frames"]
    assert module["filename"] == "a[2Jb"
