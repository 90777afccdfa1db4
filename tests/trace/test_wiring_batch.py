import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bevdiag.config.model_settings import OptimizationSettings
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.step import StepOptions, trace_steps
from bevdiag.trace.wiring import DeadBranch, LayerRecord, Wiring
from bevdiag.trace.wiring_batch import BatchWatch, Reach, WatchedBatch, dead_branches


def _watched() -> tuple[WatchedBatch, BatchWatch]:
    model = nn.Module()
    watch = BatchWatch(model, Attribution(model))
    batch = WatchedBatch({"a": torch.empty(2, 3), "b": torch.empty(4), "c": 1})
    watch.begin(batch)
    return batch, watch


def _read(watch: BatchWatch) -> list[str]:
    return [entry.key for entry in watch.wiring().entries if entry.read_by]


@pytest.mark.parametrize(
    ("look", "read"),
    [
        (lambda batch: batch["a"], ["a"]),
        (lambda batch: batch.get("b"), ["b"]),
        (lambda batch: batch.get("missing"), []),
        (lambda batch: batch.pop("c"), ["c"]),
        (lambda batch: batch.setdefault("a"), ["a"]),
        (lambda batch: list(batch.items()), ["a", "b", "c"]),
        (lambda batch: list(batch.values()), ["a", "b", "c"]),
        (lambda batch: "a" in batch, []),
        (lambda batch: list(batch), []),
    ],
)
def test_every_way_to_a_value_reads_it(
    look: Callable[[dict[str, Any]], object], read: list[str]
) -> None:
    batch, watch = _watched()
    look(batch)
    assert _read(watch) == read


def test_it_answers_like_a_dict() -> None:
    batch, _ = _watched()
    assert batch.get("missing", 5) == 5
    assert batch.pop("c") == 1
    assert batch.pop("c", 2) == 2
    assert batch.setdefault("d", 3) == batch["d"] == 3
    batch.update({"e": 4}, f=5)
    assert (batch["e"], batch["f"]) == (4, 5)
    with pytest.raises(KeyError, match="missing"):
        batch["missing"]


def test_every_way_to_write_is_noted() -> None:
    batch, watch = _watched()
    batch["c"] = {"level": torch.empty(7, 5)}
    batch.update(d=torch.empty(2, 6, 3, 3))
    batch.setdefault("e", 1)
    written = [
        (e.key, e.shape, e.channels) for e in watch.wiring().entries if e.written_by is not None
    ]
    assert written == [("c", (7, 5), 5), ("d", (2, 6, 3, 3), 6), ("e", None, None)]
    assert watch.wiring().entries[2].replaced_by == ""


def test_a_second_step_starts_anew() -> None:
    batch, watch = _watched()
    assert batch["a"] is not None
    watch.begin(WatchedBatch(x=torch.empty(1)))
    assert [(entry.key, entry.read_by) for entry in watch.wiring().entries] == [("x", ())]


def test_no_tensor_is_kept_alive() -> None:
    batch, watch = _watched()
    gone = weakref.ref(batch["a"])
    del batch["a"], batch
    assert gone() is None
    assert len(watch.wiring().entries) == 3


def test_whole_numbers_have_no_channels() -> None:
    batch, watch = _watched()
    batch["coords"] = torch.empty(5, 4, dtype=torch.int32)
    found = {entry.key: entry.channels for entry in watch.wiring().entries}
    assert (found["a"], found["coords"]) == (3, None)


class _Part(nn.Module):
    """Reads one key and writes another, through one linear layer."""

    num_point_features = 4

    def __init__(self, reads: str, writes: str) -> None:
        super().__init__()
        self.reads, self.writes = reads, writes
        self.linear = nn.Linear(4, 4, device="meta")

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch[self.writes] = self.linear(batch[self.reads])
        return batch


class _Map(nn.Module):
    num_bev_features = 8

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch["spatial_features"] = batch["encoded"].view(1, 4, -1, 2)
        return batch


class _Detector(nn.Module):
    """An encoder whose features the map reads, and whatever else stands between them."""

    def __init__(self, between: nn.Module) -> None:
        super().__init__()
        self.encoder = _Part("x", "encoded")
        self.between = between
        self.map = _Map()

    def forward(self, batch: dict[str, Any]) -> Tensor:
        for module in self.children():
            batch = module(batch)
        loss: Tensor = batch["spatial_features"].exp().sum()
        return loss


def _wiring(between: nn.Module) -> Wiring:
    options = StepOptions(optimization=OptimizationSettings(), optimizer="sgd", num_steps=1)
    batch = {"x": torch.empty(16, 4, device="meta")}
    return trace_steps(_Detector(between), batch, options).wiring


class _Idle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4, device="meta")

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        return batch


class _Gate(_Idle):
    """Its values decide, but no gradient passes."""

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch["encoded"] = batch["encoded"] * (self.linear(batch["encoded"]) > 0)
        return batch


class _Auxiliary(_Idle):
    """Its layer serves a loss of its own, which no one adds."""

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch["own_loss"] = self.linear(batch["encoded"]).exp().sum()
        batch["encoded"] = batch["encoded"].exp()
        return batch


class _Lone(_Idle):
    """One of its two parameters takes no part."""

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch["encoded"] = batch["encoded"] @ self.linear.weight
        return batch


class _Computes(nn.Module):
    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch["encoded"].exp()
        return batch


class _Checkpointed(_Idle):
    """A block whose recomputation takes a tensor from outside of its arguments."""

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        scale = self.linear(batch["x"])
        batch["encoded"] = checkpoint(
            lambda features: features * scale, batch["encoded"], use_reentrant=True
        )
        return batch


def test_what_only_a_checkpoint_recomputes_with_is_reached() -> None:
    assert _wiring(_Checkpointed()).dead_branches == ()


@pytest.mark.parametrize(
    ("between", "branch"),
    [
        (
            _Part("encoded", "later"),
            DeadBranch(
                path="between",
                params=20,
                leads_to=("later",),
                reason="nothing reads later after it; map makes the BEV map of encoded of encoder",
            ),
        ),
        (
            _Idle(),
            DeadBranch(
                path="between",
                params=20,
                leads_to=(),
                reason="what it computes is cut off from the loss",
            ),
        ),
        (
            _Gate(),
            DeadBranch(
                path="between.linear",
                params=20,
                leads_to=(),
                reason="what it computes reaches the loss through nothing that passes a gradient",
            ),
        ),
        (
            _Auxiliary(),
            DeadBranch(
                path="between.linear",
                params=20,
                leads_to=("own_loss",),
                reason="it only leads to own_loss, which nothing reads",
            ),
        ),
        (
            _Lone(),
            DeadBranch(
                path="between.linear.bias",
                params=4,
                leads_to=(),
                reason="the step's loss does not depend on it",
            ),
        ),
        (
            _Computes(),
            DeadBranch(
                path="between",
                params=0,
                leads_to=(),
                reason="what it computes reaches the loss through nothing that passes a gradient",
            ),
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_the_loss_does_not_reach_is_reported_with_the_reason(
    between: nn.Module, branch: DeadBranch
) -> None:
    assert _wiring(between).dead_branches == (branch,)


def test_the_map_is_reported_with_what_it_is_made_of() -> None:
    wiring = _wiring(_Part("encoded", "encoded"))
    assert wiring.dead_branches == ()
    assert wiring.bev_map is not None
    assert (wiring.bev_map.written_by, wiring.bev_map.channels) == ("map", 4)
    (source,) = wiring.bev_sources
    assert (source.key, source.written_by, source.computed_by) == (
        "encoded",
        "between",
        "between.linear",
    )


def test_a_module_that_delivers_other_channels_than_it_announces_is_off() -> None:
    wiring = _wiring(_Part("encoded", "encoded"))
    assert [(j.written_by, j.declared, j.channels) for j in wiring.misdeclared] == [("map", 8, 4)]
    assert not wiring.is_sound


def _layer(name: str, params: int) -> LayerRecord:
    return LayerRecord(
        name=name,
        type="Module",
        depth=name.count("."),
        in_channels=None,
        out_channels=None,
        output_shape=None,
        params=params,
        has_children=False,
    )


@pytest.mark.parametrize(
    ("layers", "without_grad", "found"),
    [
        (
            {"a": 17, "a.b": 12, "a.c": 5, "d": 30, "d.e": 3},
            {"a.b.weight": 10, "a.b.bias": 2, "a.c.weight": 5, "d.e.weight": 3},
            [("a", 17), ("d.e", 3)],
        ),
        ({"a": 17}, {"a.bias": 2}, [("a.bias", 2)]),
    ],
)
def test_a_dead_branch_is_named_at_its_outermost_module(
    layers: dict[str, int], without_grad: dict[str, int], found: list[tuple[str, int]]
) -> None:
    records = [_layer(name, params) for name, params in layers.items()]
    dead = dead_branches(Wiring(entries=()), Reach(), records, without_grad, ())
    assert [(branch.path, branch.params) for branch in dead] == found
