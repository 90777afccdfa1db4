"""Batches of the user's own loader: what is read of them, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bevdiag.errors import InputError, NoVerdictError
from bevdiag.memory.events import Category
from bevdiag.scenes import Scenario
from bevdiag.source import SavedBatch, read_saved_batch
from bevdiag.trace.alternatives import TracedStep
from tests.source.tracing import trace_source

REPOSITORY = Path(__file__).parent / "own_data"
CONFIG = REPOSITORY / "tools" / "cfgs" / "own.yaml"


def _entries(samples: int = 2, **more: Any) -> dict[str, Any]:
    points = np.random.default_rng(0).uniform(0, 20, (samples * 70, 9))
    points[:, 0] = np.repeat(np.arange(samples), 70)
    return {
        "points": points,
        "gt_boxes": np.ones((samples, 3, 8)),
        "frame_id": np.array([str(i) for i in range(samples)]),
        "batch_size": samples,
        **more,
    }


def _torch_file(folder: Path, **more: Any) -> Path:
    entries = {
        key: torch.from_numpy(value) if getattr(value, "dtype", None) == np.float64 else value
        for key, value in _entries(**more).items()
        if key != "frame_id"
    }
    torch.save(entries, folder / "batch.pt")
    return folder / "batch.pt"


def _npz_file(folder: Path, **more: Any) -> Path:
    np.savez(folder / "batch.npz", **_entries(**more))
    return folder / "batch.npz"


@pytest.mark.parametrize("save", [_torch_file, _npz_file])
def test_both_kinds_of_files_give_the_batch(save: Any, tmp_path: Path) -> None:
    saved = read_saved_batch(save(tmp_path))
    assert (saved.batch_size, saved.rows("points"), saved.rows("voxels")) == (2, 140, 0)
    assert saved.entries["gt_boxes"].shape == (2, 3, 8)


def test_arrays_are_loaded_as_training_loads_them_and_tensors_stay(tmp_path: Path) -> None:
    assert read_saved_batch(_npz_file(tmp_path)).entries["points"].dtype is torch.float32
    assert read_saved_batch(_torch_file(tmp_path)).entries["points"].dtype is torch.float64


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"calib": np.array([{}, {}], dtype=object)}, "'calib' is an array of objects"),
        ({"batch_size": 3}, "'gt_boxes' are of 2 samples"),
        ({"batch_size": 1, "gt_boxes": np.ones((1, 3, 8))}, "of sample 1, counted from 0"),
        ({"batch_size": 0}, "no whole number from 1"),
        ({"batch_size": np.array("two")}, "no whole number from 1"),
    ],
)
def test_what_contradicts_itself_or_needs_code_is_refused(
    more: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        read_saved_batch(_npz_file(tmp_path, **more))


def test_a_batch_without_its_size_is_refused_with_what_it_has(tmp_path: Path) -> None:
    entries = _entries()
    del entries["batch_size"]
    np.savez(tmp_path / "batch.npz", **entries)
    with pytest.raises(InputError, match=r"has no 'batch_size'.*frame_id, gt_boxes, points"):
        read_saved_batch(tmp_path / "batch.npz")


def test_another_number_of_samples_than_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds 2 samples, and a batch size of 4 is asked for"):
        read_saved_batch(_npz_file(tmp_path), 4)


class _Marker:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    witness = tmp_path / "executed"
    file = _torch_file(tmp_path, calib=_Marker(witness))
    with pytest.raises(InputError, match=r"holds objects.*which only running code could read"):
        read_saved_batch(file)
    assert not witness.exists()


@pytest.mark.parametrize("name", ["batch.pt", "batch.npz"])
def test_what_is_no_such_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("x: 1")
    with pytest.raises(InputError, match="is no file of"):
        read_saved_batch(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read"):
        read_saved_batch(tmp_path / "none.pt")


def _traced(saved: SavedBatch, model: str) -> TracedStep:
    scenes: Any = {Scenario.EXPECTED: saved}
    return trace_source(CONFIG, REPOSITORY, scenes=scenes, overrides=(f"MODEL.NAME={model}",))


def test_the_model_gets_the_batch_as_it_is(tmp_path: Path) -> None:
    trace = _traced(read_saved_batch(_npz_file(tmp_path)), "Twisting")
    inputs = {
        event.op: event.shape
        for event in trace.expected.stream.allocs()
        if event.category is Category.INPUT
    }
    assert inputs["batch['points']"] == (140, 9)
    assert "batch['voxels']" not in inputs
    assert (trace.num_points, trace.num_voxels) == (140, 0)


def test_an_entry_that_the_batch_lacks_is_named_with_what_it_has(tmp_path: Path) -> None:
    file = _npz_file(tmp_path)
    said = r"reads 'halves' from its batch; .*npz has no such entry: it has batch_size, frame_id"
    with pytest.raises(NoVerdictError, match=said):
        _traced(read_saved_batch(file), "Plain")


def test_the_lines_of_the_page_save_a_batch_that_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "source.md").read_text(encoding="utf-8")
    lines = page.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    loader = [_entries(calib=np.array([{}, {}], dtype=object), names=["a", "b"])]
    exec(lines, {"np": np, "train_loader": loader})
    saved = read_saved_batch(tmp_path / "batch.npz")
    assert set(saved.entries) == {"points", "gt_boxes", "frame_id", "batch_size"}
