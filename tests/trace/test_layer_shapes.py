from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from bevdiag.trace.layer_shapes import LayerTable
from bevdiag.trace.wiring import LayerRecord


def _table() -> LayerTable:
    return LayerTable(
        nn.ModuleDict(
            {
                "conv": nn.Conv2d(3, 5, 1),
                "block": nn.Sequential(nn.Linear(4, 6), nn.ReLU()),
                "norm": nn.BatchNorm1d(7),
                "attention": nn.MultiheadAttention(8, 2),
            }
        )
    )


def _from_the_batch(module: str) -> int | None:
    return 11 if module == "1" else None


def _record(table: LayerTable, name: str) -> LayerRecord:
    return next(record for record in table.records(_from_the_batch) if record.name == name)


def test_modules_come_in_the_order_of_their_definition_without_the_detector() -> None:
    names = [record.name for record in _table().records(_from_the_batch)]
    assert names == [
        "conv",
        "block",
        "block.0",
        "block.1",
        "norm",
        "attention",
        "attention.out_proj",
    ]


@pytest.mark.parametrize(
    ("name", "kind", "channels", "params", "depth", "has_children"),
    [
        ("conv", "Conv2d", (3, 5), 20, 0, False),
        ("block", "Sequential", (None, None), 30, 0, True),
        ("block.0", "Linear", (4, 6), 30, 1, False),
        ("norm", "BatchNorm1d", (7, 7), 14, 0, False),
        ("attention", "MultiheadAttention", (8, 8), 288, 0, True),
    ],
)
def test_a_module_says_its_channels_and_parameters(
    name: str,
    kind: str,
    channels: tuple[int | None, int | None],
    params: int,
    depth: int,
    has_children: bool,
) -> None:
    record = _record(_table(), name)
    assert (record.type, record.params, record.depth) == (kind, params, depth)
    assert (record.in_channels, record.out_channels) == channels
    assert record.has_children is has_children
    assert record.output_shape is None


@pytest.mark.parametrize(
    ("output", "shape", "channels"),
    [
        (torch.empty(2, 9, 4, 4), (2, 9, 4, 4), 9),
        (torch.empty(2, 9, 3, 4, 4), (2, 9, 3, 4, 4), 9),
        (torch.empty(10, 9), (10, 9), 9),
        (torch.empty(10, 5, 9), (10, 5, 9), 9),
        (torch.empty(9), (9,), None),
        (SimpleNamespace(features=torch.empty(10, 9)), (10, 9), 9),
        ([None, torch.empty(10, 9)], (10, 9), 9),
        ({"a": torch.empty(10, 9)}, (10, 9), 9),
        ({"a": 1}, None, None),
        (None, None, None),
    ],
)
def test_what_ran_has_the_shape_of_its_first_tensor(
    output: Any, shape: tuple[int, ...] | None, channels: int | None
) -> None:
    table = _table()
    block = nn.Sequential()
    table.note("block", block, (torch.empty(1, 2),), output)
    record = _record(table, "block")
    assert record.output_shape == shape
    assert record.out_channels == channels
    assert record.in_channels == 2


def test_what_a_module_puts_into_the_batch_dict_is_its_output() -> None:
    class Writes(nn.Module):
        def forward(self, batch: dict[str, object]) -> dict[str, object]:
            batch["map"] = torch.empty(2, 7, 4, 4)
            batch["stride"] = 1
            return batch

    class Reads(nn.Module):
        def forward(self, batch: dict[str, object]) -> dict[str, object]:
            return batch

    model = nn.Sequential(Writes(), Reads())
    table = LayerTable(model)
    batch: dict[str, object] = {"voxels": torch.empty(3, 5)}
    for name, module in model.named_children():
        table.note(name, module, (batch,), module(batch))
    writes, reads = table.records(_from_the_batch)
    assert writes.output_shape == (2, 7, 4, 4)
    assert writes.out_channels == 7
    assert reads.output_shape is None
    assert (writes.in_channels, reads.in_channels) == (None, 11)


def test_of_what_a_module_puts_into_the_batch_dict_features_go_before_coordinates() -> None:
    class Groups(nn.Module):
        def forward(self, batch: dict[str, object]) -> dict[str, object]:
            batch["voxel_features"] = torch.empty(9, 64, requires_grad=True)
            batch["means"] = torch.empty(9, 3)
            batch["voxel_coords"] = torch.empty(9, 4, dtype=torch.int32)
            return batch

    model = nn.Sequential(Groups())
    table = LayerTable(model)
    batch: dict[str, object] = {}
    table.note("0", model[0], (batch,), model[0](batch))
    (groups,) = table.records(_from_the_batch)
    assert (groups.output_shape, groups.out_channels) == ((9, 64), 64)


def test_a_dict_that_takes_the_place_of_one_that_is_gone_has_its_own_shape() -> None:
    table = _table()
    for columns in (3, 5, 6):
        # Each time at the address of the one before, its tensor too.
        table.note("block", nn.Identity(), (), {"x": torch.empty(2, columns, device="meta")})
    assert _record(table, "block").output_shape == (2, 6)
