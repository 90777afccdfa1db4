from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bevdiag.memory.events import EventStream
from bevdiag.source.simulated_gpu import FEATURES, SimulatedGpu, is_cuda
from bevdiag.source.state import begin
from bevdiag.trace import operands
from bevdiag.trace.assumed_values import AssumedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.functions import cuda_functions
from bevdiag.trace.ops import new_recorder
from bevdiag.trace.recorder import Recorder

User = Callable[..., object]

# What a repository's file does. Compiled under a foreign name, because bevdiag's and PyTorch's own
# code hears the truth about devices.
_CODE = """
import torch

def devices(tensor):
    return str(tensor.device), tensor.is_cuda, tensor.get_device()

def to_device(tensor):
    return tensor.cuda()

def to_number(tensor):
    return tensor.to(0, torch.float64)

def same_device(tensor, other):
    return tensor.to(other.device)

def to_host(tensor):
    return tensor.cpu()

def is_cuda(tensor):
    return tensor.is_cuda or tensor.device.type == "cuda"

def logged(tensor):
    return sum(one.item() for one in tensor.cpu() * 2)

def to_numpy(tensor):
    return tensor.cpu().numpy()

def zeros(shape, other, dtype):
    return torch.zeros(shape, dtype=dtype, device=other.device)

def empty(shape, other):
    return torch.empty(shape, device=other.device)

def host_zeros(shape):
    return torch.zeros(shape)

def as_type(tensor, name):
    return tensor.type(name), tensor.type()
"""


@pytest.fixture
def user() -> dict[str, User]:
    namespace: dict[str, User] = {}
    exec(compile(_CODE, "/elsewhere/repository.py", "exec"), namespace)
    return namespace


@pytest.fixture
def recorder() -> Recorder:
    made = new_recorder(Attribution(nn.Module()))
    made.bare_factories_on_host = True
    return made


@pytest.fixture
def gpu(recorder: Recorder) -> Iterator[SimulatedGpu]:
    values = AssumedValues(Scenario.EXPECTED, {})
    recorder.values = values
    mode = SimulatedGpu(recorder, values)
    with recorder, mode:
        yield mode


def allocated(stream: EventStream) -> list[tuple[int, ...]]:
    return [event.shape for event in stream.allocs()]


def test_features_and_values_are_both_on_the_gpu(gpu: SimulatedGpu, user: dict[str, User]) -> None:
    features = torch.empty(3, device="meta")
    coords = user["to_device"](torch.arange(3))
    assert user["devices"](features) == ("cuda:0", True, 0)
    assert user["devices"](coords) == ("cuda:0", True, 0)
    assert user["devices"](torch.arange(3)) == ("cpu", False, -1)


def test_library_code_learns_the_truth(gpu: SimulatedGpu) -> None:
    linear = nn.Linear(2, 2, device="meta")
    assert linear.weight.is_meta
    copied = nn.Parameter(torch.ones(2)).detach().to("cpu")
    assert copied.tolist() == [1.0, 1.0]


def test_a_copy_to_the_device_counts_and_keeps_its_values(
    gpu: SimulatedGpu, user: dict[str, User], recorder: Recorder
) -> None:
    copied = user["to_device"](torch.full((5,), 3.0))
    assert isinstance(copied, torch.Tensor)
    assert copied.tolist() == [3.0] * 5
    assert recorder.is_device(copied)
    assert user["to_device"](copied) is copied
    assert allocated(recorder.stream(1)) == [(5,)]
    numbered = user["to_number"](torch.ones(4))
    assert isinstance(numbered, torch.Tensor)
    assert recorder.is_device(numbered)
    assert allocated(recorder.stream(1)) == [(5,), (4,)]


MADE_BEFORE = torch.full((5,), 3.0)


def test_what_was_made_before_the_trace_stays_the_hosts_and_each_copy_of_it_counts(
    gpu: SimulatedGpu, user: dict[str, User], recorder: Recorder
) -> None:
    copies = [user["to_device"](MADE_BEFORE) for _ in range(2)]
    assert not recorder.is_device(MADE_BEFORE)
    assert copies[0] is not copies[1]
    assert allocated(recorder.stream(1)) == [(5,), (5,)]


def test_a_device_is_handed_on_to_the_right_lane(
    gpu: SimulatedGpu, user: dict[str, User], recorder: Recorder
) -> None:
    features = torch.empty(3, device="meta")
    moved = user["same_device"](torch.arange(4), features)
    assert isinstance(moved, torch.Tensor)
    assert moved.tolist() == [0, 1, 2, 3]
    unknown, known = user["empty"]((2, 2), features), user["zeros"]((2,), features, torch.float32)
    assert isinstance(unknown, torch.Tensor)
    assert isinstance(known, torch.Tensor)
    assert unknown.is_meta
    assert known.tolist() == [0.0, 0.0]
    assert allocated(recorder.stream(1))[1:] == [(4,), (2, 2), (2,)]


def test_what_is_the_host_s_does_not_count(
    gpu: SimulatedGpu, user: dict[str, User], recorder: Recorder
) -> None:
    user["host_zeros"]((7,))
    torch.LongTensor(3)
    coords = user["to_device"](torch.arange(6))
    user["to_host"](coords)
    assert allocated(recorder.stream(1)) == [(6,)]


def test_features_on_the_host_leave_the_step_without_an_upper_end(
    gpu: SimulatedGpu, user: dict[str, User], recorder: Recorder
) -> None:
    array = user["to_numpy"](torch.empty(2, 2, device="meta"))
    assert isinstance(array, np.ndarray)
    assert array.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert isinstance(gpu.values, AssumedValues)
    assert any("features copied to the host" in sentence for sentence in gpu.values.open)


def test_a_copy_that_is_only_logged_decides_nothing(
    gpu: SimulatedGpu, user: dict[str, User], recorder: Recorder
) -> None:
    features = torch.empty(3, device="meta")
    copied = user["to_host"](features)
    assert not user["is_cuda"](copied)
    before = recorder.position
    with cuda_functions(recorder, None), gpu:
        user["logged"](copied)
    assert recorder.position == before
    assert isinstance(gpu.values, AssumedValues)
    assert not gpu.values.open
    assert user["to_numpy"](copied).tolist() == [0, 0, 0]
    assert any("features copied to the host" in sentence for sentence in gpu.values.open)


def test_a_copy_that_is_kept_among_values_matters_where_it_is_read(
    gpu: SimulatedGpu, user: dict[str, User], recorder: Recorder
) -> None:
    kept = torch.zeros(3)
    kept[0] = user["to_host"](torch.empty((), device="meta"))
    assert not recorder.is_device(kept)
    assert isinstance(gpu.values, AssumedValues)
    assert not gpu.values.open
    assert user["to_numpy"](kept).tolist() == [0, 0, 0]
    assert any("features copied to the host" in sentence for sentence in gpu.values.open)


def test_a_mask_with_values_picks_its_rows_of_features(
    gpu: SimulatedGpu, user: dict[str, User], recorder: Recorder
) -> None:
    features = torch.empty(6, 4, device="meta", requires_grad=True)
    mask = user["to_device"](torch.tensor([True, False, True, True, False, False]))
    picked = features[mask]
    assert picked.is_meta
    assert picked.shape == (3, 4)
    picked.sum().backward()
    assert features.grad is not None
    assert features.grad.shape == (6, 4)
    assert features[None, mask, 1:3].shape == (1, 3, 2)
    assert features[mask, 1].shape == (3,)


def test_writing_features_into_constants_gives_up_their_values_not_their_memory(
    gpu: SimulatedGpu, user: dict[str, User], recorder: Recorder
) -> None:
    features = torch.empty(2, 3, device="meta", requires_grad=True)
    canvas = user["zeros"]((8, 3), features, torch.float32)
    assert isinstance(canvas, torch.Tensor)
    before = len(allocated(recorder.stream(1)))
    rows = user["to_device"](torch.tensor([1, 4]))
    canvas[rows] = features
    assert canvas.is_meta
    assert canvas.requires_grad
    assert recorder.block_of(canvas) is not None
    assert allocated(recorder.stream(1))[before:].count((8, 3)) == 0


def test_indices_of_a_sort_are_a_permutation(gpu: SimulatedGpu) -> None:
    _, order = torch.empty(9, device="meta").sort(descending=True)
    assert sorted(order.tolist()) == list(range(9))
    _, best = torch.topk(torch.empty(2, 9, device="meta"), 4, dim=1)
    assert best.shape == (2, 4)
    assert all(len(set(row)) == 4 for row in best.tolist())


def test_coordinates_under_an_unknown_mask_keep_values(
    gpu: SimulatedGpu, user: dict[str, User]
) -> None:
    coords = user["to_device"](torch.arange(10))
    assert isinstance(coords, torch.Tensor)
    mask = torch.empty(10, device="meta") > 0.5
    inside, outside = coords[mask], coords[~mask]
    assert len(inside) == 5
    assert sorted((*inside.tolist(), *outside.tolist())) == list(range(10))


def test_ones_made_from_features_are_known_to_be_ones(gpu: SimulatedGpu) -> None:
    features = torch.empty(1, device="meta")
    ones = features.new_ones((2, 3))
    assert len(ones.nonzero()) == 6
    ones[0] = 0
    assert len(ones.nonzero()) == 3  # half of them, as for any other test on features


def test_what_a_tensor_of_the_gpu_makes_of_numbers_is_the_gpus(
    gpu: SimulatedGpu, user: dict[str, User], recorder: Recorder
) -> None:
    places = user["to_device"](torch.arange(3.0))
    assert isinstance(places, torch.Tensor)
    made = places.new_tensor([1.0, 2.0])
    assert recorder.block_of(made) is not None
    assert made.tolist() == [1.0, 2.0]
    assert allocated(recorder.stream(1)) == [(3,), (2,)]
    assert recorder.block_of(torch.arange(3.0).new_tensor([1.0])) is None


def test_legacy_type_names(gpu: SimulatedGpu, user: dict[str, User]) -> None:
    features = torch.empty(2, device="meta")
    converted, name = user["as_type"](features, "torch.cuda.HalfTensor")  # type: ignore[misc]
    assert converted.is_meta
    assert converted.dtype is torch.float16
    assert name == "torch.cuda.FloatTensor"


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cuda", True), ("cuda:1", True), ("cpu", False), (0, True), (True, False), (None, False)],
)
def test_which_devices_are_gpus(device: object, expected: bool) -> None:
    assert is_cuda(device) is expected


@pytest.mark.parametrize(
    "name", ["add_", "bitwise_or_", "subtract_", "clamp_min_", "remainder_", "__ixor__"]
)
def test_what_features_are_written_into_has_no_values(gpu: SimulatedGpu, name: str) -> None:
    table = torch.zeros(4, dtype=torch.long, device="cuda")
    assert not table.is_meta
    getattr(table, name)(torch.empty(4, dtype=torch.long, device="meta"))
    assert table.is_meta


WAYS: dict[str, Callable[[torch.Tensor, torch.Tensor], object]] = {
    "a slice": lambda table, ids: table[:2].copy_(ids[:2]),
    "a slice of a row": lambda table, ids: table.view(1, 4)[0][:2].add_(ids[:2]),
    "an item of a slice": lambda table, ids: table[1:].__setitem__(0, ids[0]),
    "a mask of a slice": lambda table, ids: table[:].masked_fill_(ids > 0, 1),
    "unbind": lambda table, ids: table.view(2, 2).unbind(0)[0].copy_(ids[:2]),
    "as_strided": lambda table, ids: torch.as_strided(table, (2,), (1,)).copy_(ids[:2]),
    "another type": lambda table, ids: table.view(torch.float64).copy_(ids),
    "data": lambda table, ids: table.data.copy_(ids),
    "detach": lambda table, ids: table.detach().add_(ids),
    "data =": lambda table, ids: setattr(table, "data", ids),
    "out": lambda table, ids: torch.add(ids, 1, out=table),
    "several out": lambda table, ids: torch.sort(ids, out=(table, torch.zeros_like(table))),
    "a list": lambda table, ids: torch._foreach_copy_([table], [ids]),
    "a function": lambda table, ids: torch.index_put_(table, (torch.tensor([0]),), ids[:1]),
    "a number": lambda table, ids: torch.fill_(table, ids[0]),
    "an index": lambda table, ids: table.__setitem__(ids, 1),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("held", [False, True])
def test_what_features_are_written_into_has_no_values_whoever_looks(
    gpu: SimulatedGpu, recorder: Recorder, way: str, held: bool
) -> None:
    ids = torch.empty(4, dtype=torch.long, device="meta")
    table = torch.zeros(4, dtype=torch.long, device="cuda")
    block = recorder.block_of(table)
    others = [table.view(2, 2), table.detach()] if held and way != "data =" else []
    WAYS[way](table, ids)
    assert table.shape == (4,)
    for tensor in (table, *others):
        assert recorder.as_known(tensor).is_meta
        assert tensor.is_meta
        assert way == "data =" or recorder.block_of(tensor) == block
        assert torch.nonzero(tensor > 0).is_meta is False  # somebody was asked for the mask
    assert isinstance(gpu.values, AssumedValues)
    assert len(gpu.values.assumptions) == 1
    before = recorder.position
    del table, tensor, others
    if way != "data =":
        assert recorder.take_frees(before) == [block]


def test_what_has_lost_its_values_on_the_host_stays_the_host_s(
    gpu: SimulatedGpu, recorder: Recorder
) -> None:
    kept, features = torch.zeros(4), torch.empty(2, device="meta")
    before = recorder.position
    kept[:2].copy_(features)
    doubled = kept * 2
    assert doubled.is_meta
    assert not recorder.is_device(doubled)
    assert recorder.position == before


NUMBERS: dict[str, Callable[[torch.Tensor, float], torch.Tensor]] = {
    "a product": lambda table, number: table * number,
    "a limit": lambda table, number: table.clamp(max=number),
    "a comparison": lambda table, number: table > number,
    "an item": lambda table, number: (table.__setitem__(0, number), table)[1],
    "in place": lambda table, number: table.add_(number),
    "a part": lambda table, number: (table[1:].fill_(number), table)[1],
}


@pytest.mark.parametrize("way", NUMBERS)
def test_what_is_computed_with_a_number_of_features_has_no_values(
    gpu: SimulatedGpu, recorder: Recorder, way: str
) -> None:
    features, table = torch.empty(3, device="meta"), torch.zeros(4, device="cuda")
    with cuda_functions(recorder, None), gpu:
        assert NUMBERS[way](table, features.sum().item()).is_meta


def test_gradients_pass_through_a_part_that_features_are_written_into(gpu: SimulatedGpu) -> None:
    canvas = torch.zeros(2, 4, device="cuda")
    features = torch.empty(4, device="meta", requires_grad=True)
    canvas[0][1:].copy_(features[1:])
    (canvas * 2).sum().backward()
    assert features.grad is not None


def test_gradients_cannot_pass_through_a_part_that_others_look_at(
    gpu: SimulatedGpu, recorder: Recorder
) -> None:
    from bevdiag.errors import NoVerdictError

    canvas = torch.zeros(4, device="cuda")
    held = canvas.view(2, 2)
    features = torch.empty(4, device="meta", requires_grad=True)
    with pytest.raises(NoVerdictError, match="new_zeros"):
        canvas[:] = features
    assert recorder.block_of(held) is not None


def test_memory_that_others_look_at_does_not_become_that_of_features(gpu: SimulatedGpu) -> None:
    from bevdiag.errors import NoVerdictError

    table = torch.zeros(4, device="cuda")
    held = table.view(2, 2)
    with pytest.raises(NoVerdictError, match="given the memory of features"):
        table.data = torch.empty(4, device="meta")
    assert held.shape == (2, 2)


def test_meta_copies_made_above_the_dispatch_are_not_recorded(
    gpu: SimulatedGpu, recorder: Recorder
) -> None:
    operands.unrecorded(operands.as_meta, torch.ones(11))
    assert allocated(recorder.stream(1)) == []


CUDA = torch.device("cuda")


@pytest.fixture
def running() -> Iterator[Recorder]:
    made = new_recorder(Attribution(nn.Module()))
    made.bare_factories_on_host = True
    values = AssumedValues(Scenario.EXPECTED, {})
    gpu = SimulatedGpu(made, values)
    begin(gpu)
    with made, gpu:
        yield made


MADE: dict[str, Callable[[], torch.Tensor]] = {
    "empty_strided": lambda: torch.empty_strided((2, 3), (3, 1), device="cuda"),
    "triu_indices": lambda: torch.triu_indices(4, 4, device="cuda"),
    "tril_indices": lambda: torch.tril_indices(4, 4, device=CUDA),
    "normal": lambda: torch.normal(0.0, 1.0, (3, 4), device="cuda"),
    "logspace": lambda: torch.logspace(0, 1, 5, device="cuda:0"),
    "hann_window": lambda: torch.hann_window(8, device=0),
    "fftfreq": lambda: torch.fft.fftfreq(8, device="cuda"),
    "asarray": lambda: torch.asarray([1, 2], device="cuda"),
    "as_tensor": lambda: torch.as_tensor(torch.ones(3), device="cuda"),
    "frombuffer": lambda: torch.frombuffer(bytearray(16), dtype=torch.int32).cuda(),
    "to": lambda: torch.ones(3).to("cuda", non_blocking=True),
    "ones_like": lambda: torch.ones_like(torch.ones(3), device="cuda"),
    "new_full": lambda: torch.ones(3).new_full((2,), 1.0, device="cuda"),
    "Linear": lambda: nn.Linear(3, 4, device="cuda").weight.detach(),
}


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_for_the_gpu_is_the_gpu_s(name: str, running: Recorder) -> None:
    made = MADE[name]()
    assert running.is_device(made)
    assert not made.is_meta
    assert made.device.type == "cuda"


def test_what_is_made_next_to_features_without_values_is_features(running: Recorder) -> None:
    for made in (
        torch.empty_strided((2, 2), (2, 1), device=FEATURES),
        torch.normal(0.0, 1.0, (2, 2), device=FEATURES),
        torch.rand(3, device=FEATURES, generator=torch.Generator()),
    ):
        assert made.is_meta
    assert torch.randint(0, 5, (3,), device=FEATURES).max() < 5


def test_the_default_device_counts_and_only_while_it_is_set(running: Recorder) -> None:
    with torch.device("cuda"):
        inside = torch.zeros(3)
    assert running.is_device(inside)
    assert not running.is_device(torch.zeros(3))
    torch.set_default_device("cuda")
    try:
        assert running.is_device(torch.arange(3))
    finally:
        torch.set_default_device(None)


def test_a_sparse_tensor_is_made_from_its_parts(running: Recorder) -> None:
    indices = torch.tensor([[0, 1], [1, 0]], device="cuda")
    values = torch.ones(2, device="cuda")
    made: Any = torch.sparse_coo_tensor(indices, values, (2, 2), device="cuda")
    assert made.to_dense().tolist() == [[0.0, 1.0], [1.0, 0.0]]
    features = torch.empty(2, device="meta")
    assert torch.sparse_coo_tensor(indices, features, (2, 2), device="cuda").is_meta


def test_what_is_to_get_a_gradient_is_where_features_are(running: Recorder) -> None:
    one_hot = torch.eye(4, device="cuda", requires_grad=True)
    assert one_hot.is_meta
    assert torch.eye(4, device="cuda").tolist()[0] == [1, 0, 0, 0]
