from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bevdiag.trace.wiring import BatchEntry, Wiring, is_inside


class _Encoder(nn.Module):
    num_point_features = 4

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 4, device="meta")

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch["features"] = self.linear(batch["x"])
        return batch


class _Transformer(nn.Module):
    """Writes features that no one reads, under two keys."""

    num_point_features = 6

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4, device="meta")

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch["again"] = batch["features"] = self.linear(batch["features"])
        return batch


class _Map(nn.Module):
    num_bev_features = 2

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch["spatial_features"] = batch["kept"].view(1, 4, -1, 2)
        return batch


class _Detector(nn.Module):
    def __init__(self, *, reads: str) -> None:
        super().__init__()
        self.reads = reads
        self.encoder = _Encoder()
        self.transformer = _Transformer()
        self.map = _Map()

    def forward(self, batch: dict[str, Any]) -> Tensor:
        batch = self.encoder(batch)
        early = batch["features"]
        batch = self.transformer(batch)
        batch["kept"] = early if self.reads == "encoder" else batch["features"]
        loss: Tensor = self.map(batch)["spatial_features"].exp().sum()
        return loss


@pytest.fixture(scope="module")
def wired(recordings: Any) -> Any:
    def trace(reads: str) -> Wiring:
        batch = {"x": torch.empty(16, 8, device="meta"), "batch_size": 1}
        found: Wiring = recordings.steps(_Detector(reads=reads), batch).wiring
        return found

    return trace


def _entries(wiring: Wiring, key: str) -> list[BatchEntry]:
    return [entry for entry in wiring.entries if entry.key == key]


def _entry(
    key: str, writer: str | None, channels: int | None, *, graph: bool = False
) -> BatchEntry:
    return BatchEntry(
        key=key,
        written_by=writer,
        shape=None,
        channels=channels,
        declared=None,
        carries_gradient=graph,
        computed_by="",
        read_by=("head.conv",),
        is_read=True,
        replaced_by=None,
    )


@pytest.mark.parametrize(
    ("entries", "channels"),
    [
        ([_entry("voxels", None, 4), _entry("voxel_coords", None, 4)], 4),
        ([_entry("points", None, 5)], 4),
        ([_entry("points", None, 5), _entry("voxel_features", "vfe", 10)], 10),
        ([_entry("voxel_features", "vfe", 4), _entry("map", "backbone", 9, graph=True)], 9),
        ([_entry("map", "backbone", 9, graph=True), _entry("own", "head", 3, graph=True)], 9),
        ([_entry("a", "x", 9, graph=True), _entry("b", "y", 9, graph=True)], 9),
        ([_entry("a", "x", 9, graph=True), _entry("b", "y", 3, graph=True)], None),
        ([_entry("voxel_coords", "vfe", None), _entry("gt_boxes", None, 8)], None),
        ([], None),
    ],
)
def test_what_a_module_takes_from_the_batch_has_one_number_of_channels_or_none(
    entries: list[BatchEntry], channels: int | None
) -> None:
    wiring = Wiring.of(tuple(entries))
    assert wiring.channels_into("head") == channels
    assert wiring.channels_into("backbone") is None


def test_an_entry_names_its_writer_its_readers_and_who_replaced_it(wired: Any) -> None:
    given, first, second = (
        _entries(wired("encoder"), "x")[0],
        *_entries(wired("encoder"), "features"),
    )
    assert (given.written_by, given.read_by, given.shape) == (None, ("encoder",), (16, 8))
    assert (first.written_by, first.read_by) == ("encoder", ("", "transformer"))
    assert first.replaced_by == "transformer"
    assert (second.written_by, second.read_by, second.replaced_by) == ("transformer", (), None)


def test_only_the_last_step_is_reported(wired: Any) -> None:
    assert len(_entries(wired("encoder"), "x")) == 1


def test_one_value_under_two_keys_is_read_under_both(wired: Any) -> None:
    (again,) = _entries(wired("transformer"), "again")
    assert (again.read_by, again.is_read) == ((), True)
    (again,) = _entries(wired("encoder"), "again")
    assert (again.read_by, again.is_read) == ((), False)


def test_a_writer_is_held_to_the_channels_it_declares(wired: Any) -> None:
    wiring = wired("encoder")
    (bev_map,) = _entries(wiring, "spatial_features")
    assert (bev_map.channels, bev_map.declared) == (4, 2)
    declared = [(e.channels, e.declared) for e in _entries(wiring, "features")]
    assert declared == [(4, 4), (4, 6)]
    assert _entries(wiring, "batch_size")[0].channels is None


@pytest.mark.parametrize(
    ("reads", "computed_by", "unreached"),
    [
        ("encoder", "encoder.linear", {"transformer": ("features", "again")}),
        ("transformer", "transformer.linear", {}),
    ],
)
def test_the_map_leads_back_to_the_module_that_computed_it(
    wired: Any, reads: str, computed_by: str, unreached: dict[str, tuple[str, ...]]
) -> None:
    wiring = wired(reads)
    (source,) = wiring.bev_sources
    assert (source.key, source.written_by, source.computed_by) == ("kept", "", computed_by)
    assert {one.path: one.leads_to for one in wiring.dead_branches} == unreached


def test_without_a_map_there_is_nothing_to_lead_back(recordings: Any) -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 4, device="meta")

        def forward(self, batch: dict[str, Any]) -> Tensor:
            loss: Tensor = self.linear(batch.get("x")).sum()
            return loss

    wiring = recordings.steps(Plain(), {"x": torch.empty(16, 8, device="meta")}).wiring
    assert wiring.bev_map is None
    assert wiring.bev_sources == ()
    assert wiring.entries[0].read_by == ("",)


@pytest.mark.parametrize(
    ("path", "module", "inside"),
    [("a.b", "a", True), ("a", "a", True), ("ab", "a", False), (None, "a", False)],
)
def test_a_path_lies_inside_of_the_modules_around_it(
    path: str | None, module: str, inside: bool
) -> None:
    assert is_inside(path, module) is inside
