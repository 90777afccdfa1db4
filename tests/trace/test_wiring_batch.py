import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from bevdiag.trace.attribution import Attribution
from bevdiag.trace.wiring_batch import BatchWatch, WatchedBatch


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
