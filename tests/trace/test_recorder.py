import gc
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bevdiag.memory.events import Category, EventStream, Phase, allocating
from bevdiag.memory.requests import GemmWorkspace


class _Toy(nn.Module):
    """Two named layers, one of them nested, a loss, and a tensor that outlives the step."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
        self.head = nn.Linear(16, 4)
        self.last_scores: Tensor | None = None

    def forward(self, batch: dict[str, Any]) -> Tensor:
        scores = self.head(self.stem(batch["x"]))
        self.last_scores = scores.detach().exp()
        loss: Tensor = scores.pow(2).sum()
        return loss


def _toy() -> _Toy:
    return _Toy().to("meta")


def _batch(rows: int = 32) -> dict[str, Any]:
    return {"x": torch.empty(rows, 8, device="meta"), "batch_size": 2}


@pytest.fixture(scope="module")
def stream(recordings: Any) -> EventStream:
    recorded: EventStream = recordings.steps(_toy(), _batch(), optimizer="adam", num_steps=3).stream
    return recorded


def test_the_books_balance(recordings: Any, stream: EventStream) -> None:
    alive = recordings.alive_after(stream)  # a free of a dead block would raise
    kinds = {alloc.category for alloc in alive.values()}
    assert kinds == {
        Category.PARAMETER,
        Category.INPUT,
        Category.OPTIMIZER_STATE,
        Category.WORKSPACE,
        Category.ACTIVATION,
    }


def test_marks_announce_the_steps_in_order(stream: EventStream) -> None:
    phases = (Phase.FORWARD, Phase.BACKWARD, Phase.OPTIMIZER)
    assert [(part.step, part.phase) for part in stream.sections()] == [
        (0, Phase.LOAD),
        *((step, phase) for step in (1, 2, 3) for phase in phases),
    ]


def test_every_event_says_where_it_falls(stream: EventStream) -> None:
    for part in stream.sections():
        made = (stream.made >= part.start) & (stream.made < part.stop)
        assert made.any()
        for event in stream.allocs(made):
            assert (event.step, event.phase) == (part.step, part.phase)


def test_loading_adopts_parameters_children_first_then_the_batch(
    recordings: Any, stream: EventStream
) -> None:
    loaded = [(a.category, a.module, a.shape) for a in recordings.allocs(stream, step=0)]
    assert loaded == [
        (Category.PARAMETER, "stem.0", (16, 8)),
        (Category.PARAMETER, "stem.0", (16,)),
        (Category.PARAMETER, "head", (4, 16)),
        (Category.PARAMETER, "head", (4,)),
        (Category.INPUT, "", (32, 8)),
        (Category.WORKSPACE, "", ()),
    ]


def test_the_forward_pass_is_recorded_with_path_op_size_and_category(
    recordings: Any, stream: EventStream
) -> None:
    forward = recordings.allocs(stream, step=2, phase=Phase.FORWARD)
    rows = [(a.module, a.op, a.shape, a.nbytes, a.category) for a in forward]
    assert rows == [
        ("", "aten.clone.default", (32, 8), 1024, Category.INPUT),
        ("stem.0", "aten.addmm.default", (32, 16), 2048, Category.TEMPORARY),
        ("stem.1", "aten.relu.default", (32, 16), 2048, Category.ACTIVATION),
        ("head", "aten.addmm.default", (32, 4), 512, Category.ACTIVATION),
        ("", "aten.exp.default", (32, 4), 512, Category.ACTIVATION),
        ("", "aten.pow.Tensor_Scalar", (32, 4), 512, Category.TEMPORARY),
        ("", "aten.sum.default", (), 4, Category.ACTIVATION),
    ]


def test_gradients_are_those_that_parameters_hold(recordings: Any, stream: EventStream) -> None:
    gradients = recordings.allocs(stream, step=2, category=Category.GRADIENT)
    assert {a.phase for a in gradients} == {Phase.BACKWARD}
    shapes = sorted((a.module, a.shape) for a in gradients)
    # A linear layer's bias gradient is summed as [1, 16] and then viewed as [16].
    assert [(module, max(shape)) for module, shape in shapes] == [
        ("head", 4),
        ("head", 16),
        ("stem.0", 16),
        ("stem.0", 16),
    ]
    assert sum(a.nbytes for a in gradients) == 4 * (4 + 4 * 16 + 16 + 16 * 8)


def test_the_optimizer_makes_its_state_in_the_first_step_only(
    recordings: Any, stream: EventStream
) -> None:
    state = recordings.allocs(stream, category=Category.OPTIMIZER_STATE)
    assert {(a.step, a.phase) for a in state} == {(1, Phase.OPTIMIZER)}
    # Two moments a parameter; on CUDA the step counters stay on the host unless capturable.
    assert sum(a.nbytes for a in state) == 2 * 4 * (16 * 8 + 16 + 4 * 16 + 4)


def test_a_tensor_that_outlives_the_step_is_freed_when_it_is_replaced(
    recordings: Any, stream: EventStream
) -> None:
    exp = [a for a in recordings.allocs(stream) if a.op == "aten.exp.default"]
    assert stream.freed[exp[0].block] == stream.made[exp[1].block] + 1
    assert stream.freed[exp[2].block] == len(stream.events)


def test_each_thread_makes_its_cublas_workspace_once(recordings: Any, stream: EventStream) -> None:
    workspaces = recordings.allocs(stream, category=Category.WORKSPACE)
    made = [(a.step, a.request) for a in workspaces if isinstance(a.request, GemmWorkspace)]
    assert made == [(0, GemmWorkspace("main")), (1, GemmWorkspace("autograd"))]


def test_coordinates_on_the_cpu_count_as_the_devices(recordings: Any) -> None:
    coords = torch.arange(40).view(10, 4)
    with recordings.recording() as recorder:
        recorder.adopt(coords, Category.INPUT, "", "batch")
        shifted = coords + 1
        key = shifted[:, 0] * 7
        count = int(key.max())
    assert count == 7 * 37
    rows = [(a.op, a.nbytes, a.dtype) for a in recordings.allocs(recorder.stream(1))]
    assert rows == [
        ("batch", 320, "int64"),
        ("aten.add.Tensor", 320, "int64"),
        ("aten.mul.Tensor", 80, "int64"),
        ("aten.max.default", 8, "int64"),
    ]


def test_host_tensors_and_what_is_computed_from_them_are_not_counted(recordings: Any) -> None:
    with recordings.recording() as recorder:
        offsets = torch.tensor([1, 2, 3])
        table = torch.arange(12).view(3, 4)
        _ = (table * 2 + offsets[:, None]).sum()
        _ = torch.zeros(100).exp()
    assert recordings.allocs(recorder.stream(1)) == []


def test_work_on_a_host_copy_is_not_counted(recordings: Any) -> None:
    coords = torch.arange(40).view(10, 4)
    with recordings.recording() as recorder:
        recorder.adopt(coords, Category.INPUT, "", "batch")
        _ = torch.from_numpy(coords.cpu().numpy().copy()) * 2 + 1
    assert len(recordings.allocs(recorder.stream(1))) == 1


def test_a_host_tensor_joins_the_device_where_it_meets_one(recordings: Any) -> None:
    with recordings.recording() as recorder:
        scale = torch.ones(5)
        features = torch.empty(4, 5, device="meta")
        product = features * scale
    assert product.is_meta
    ops = [(a.op, a.nbytes) for a in recordings.allocs(recorder.stream(1))]
    assert ops == [("aten.empty.memory_format", 80), ("aten.mul.Tensor", 80)]


def test_meta_features_and_real_coordinates_mix_in_one_operation(recordings: Any) -> None:
    coords = torch.arange(6, dtype=torch.float32).view(3, 2)
    with recordings.recording() as recorder:
        recorder.adopt(coords, Category.INPUT, "", "batch")
        joined = torch.cat([torch.empty(3, 5, device="meta"), coords], dim=1)
        offset = coords - torch.empty(2, device="meta")
    assert joined.shape == (3, 7)
    assert joined.is_meta
    assert offset.is_meta
    sizes = [a.nbytes for a in recordings.allocs(recorder.stream(1)) if "empty" not in a.op]
    assert sizes == [24, 84, 24]


def test_a_zero_dimensional_host_tensor_is_a_scalar_argument(recordings: Any) -> None:
    with recordings.recording() as recorder:
        scaled = torch.empty(8, device="meta") * torch.tensor(2.0)
    assert scaled.shape == (8,)
    assert scaled.dtype is torch.float32
    assert len(recordings.allocs(recorder.stream(1))) == 2


def test_views_and_in_place_operations_allocate_nothing(recordings: Any) -> None:
    with recordings.recording() as recorder:
        x = torch.empty(6, 4, device="meta")
        x.t().reshape(4, 3, 2)[1:].add_(1)
        x.relu_()
    assert [a.op for a in recordings.allocs(recorder.stream(1))] == ["aten.empty.memory_format"]


def test_a_block_lives_as_long_as_its_last_view(recordings: Any) -> None:
    with recordings.recording() as recorder:
        x = torch.empty(6, 4, device="meta")
        corner = x[:2, :2]
        del x
        gc.collect()
        held = recordings.alive_after(recorder.stream(1))
        del corner
        gone = recordings.alive_after(recorder.stream(1))
    assert [a.nbytes for a in held.values()] == [96]
    assert gone == {}


def test_empty_tensors_ask_for_nothing(recordings: Any) -> None:
    with recordings.recording() as recorder:
        _ = torch.empty(0, 4, device="meta").exp()
    assert recordings.allocs(recorder.stream(1)) == []


def test_a_named_category_stands(recordings: Any) -> None:
    with recordings.recording() as recorder:
        with allocating(Category.RULEBOOK):
            pairs = torch.empty(27, 10, dtype=torch.int32, device="meta")
        kept = pairs.float()
        recorder.mark(1, Phase.BACKWARD)
        del kept
    categories = [a.category for a in recordings.allocs(recorder.stream(1))]
    assert categories == [Category.RULEBOOK, Category.ACTIVATION]


def test_rehome_hands_a_block_to_another_tensor(recordings: Any) -> None:
    with recordings.recording() as recorder:
        old = torch.empty(10, device="meta")
        with recorder.on_host():
            new = torch.empty(10)
        new = torch.from_numpy(new.numpy())
        recorder.rehome(old, new)
        del old
        alive = recordings.alive_after(recorder.stream(1))
        assert recorder.is_device(new)
        del new
        gone = recordings.alive_after(recorder.stream(1))
    assert len(alive) == 1
    assert gone == {}


def test_for_device_counts_what_is_made_from_nothing(recordings: Any) -> None:
    with recordings.recording() as recorder:
        recorder.bare_factories_on_host = True
        host = torch.empty(10, device="cpu")
        with recorder.for_device():
            device = torch.empty(20, device="cpu")
        assert not recorder.is_device(host)
        assert recorder.is_device(device)
    assert [a.nbytes for a in recordings.allocs(recorder.stream(1))] == [80]


def test_what_dies_after_the_run_is_alive_in_it(recordings: Any) -> None:
    with recordings.recording() as recorder:
        x = torch.empty(10, device="meta")
    del x
    assert len(recordings.alive_after(recorder.stream(1))) == 1
