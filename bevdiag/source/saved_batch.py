"""A batch that the user's own loader made and they saved; reading it runs nothing of it."""

import math
import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch

from bevdiag.errors import InputError
from bevdiag.files.reading import read_part

MOST_BYTES = 2**32
"""Of the file, and of what it unpacks to."""
_GIVEN = Path("batch")
"""What sentences call one that came from no file."""
_SAMPLES_FIRST = ("points", "voxel_coords")
"""Entries whose first column is the sample's index."""
_HOW = "docs/source.md shows the lines that save one"
_UNREADABLE = (
    pickle.UnpicklingError, BadZipFile, RuntimeError, OSError, EOFError, ValueError, KeyError,
)  # fmt: skip
_KINDS = "tensors, arrays of numbers or text, numbers, text, or lists and dicts of them"


@dataclass(frozen=True, slots=True)
class SavedBatch:
    """A batch dict as the training loop's model gets it.

    Attributes:
        entries: arrays of numbers as float32 tensors, as `load_data_to_gpu` makes them; tensors
            as they were saved, on the CPU.
    """

    path: Path
    entries: Mapping[str, Any]

    @property
    def batch_size(self) -> int:
        return int(self.entries["batch_size"])

    def rows(self, key: str) -> int:
        """Rows of an entry, 0 where there is none."""
        value = self.entries.get(key)
        return len(value) if isinstance(value, torch.Tensor) and value.dim() else 0


def read_saved_batch(
    batch: str | os.PathLike[str] | Mapping[str, Any], batch_size: int | None = None
) -> SavedBatch:
    """Read a file of torch.save or numpy.savez, or take what a loader gives as it is.

    Args:
        batch: the file, or what it would hold.
        batch_size: the samples that are asked for, None for those that it holds.

    Raises:
        InputError: it cannot be read without running code, lacks the batch's size, contradicts
            itself, or holds another number of samples than asked for.
    """
    path = _GIVEN if isinstance(batch, Mapping) else Path(batch)
    found = batch if isinstance(batch, Mapping) else _from_file(path)
    if not isinstance(found, Mapping) or not all(isinstance(key, str) for key in found):
        raise InputError(
            f"{path}: expected a dict with names as keys, found {type(found).__name__}: {_HOW}"
        )
    entries = {key: _loaded(path, key, value) for key, value in found.items()}
    saved = SavedBatch(path, {**entries, "batch_size": _size(path, entries)})
    _check_samples(saved)
    if batch_size is not None and batch_size != saved.batch_size:
        raise InputError(
            f"{path}: holds {saved.batch_size} samples, and a batch size of {batch_size} is asked "
            "for: save another batch, or leave the batch size out"
        )
    return saved


def _from_file(path: Path) -> Any:
    read_part(path, 1)
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path}: is larger than {MOST_BYTES} bytes, the most a batch may have")
    try:
        if path.suffix == ".npz":
            return _from_npz(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and named is not None:
            raise InputError(
                f"{path}: holds objects of {named[1]}, which only running code could read: save "
                f"tensors, numbers and text alone; {_HOW}"
            ) from error
        raise InputError(f"{path}: is no file of torch.save or numpy.savez: {_HOW}") from error


def _from_npz(path: Path) -> dict[str, Any]:
    with ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > MOST_BYTES:
        raise InputError(f"{path}: unpacks to {unpacked} bytes, more than {MOST_BYTES}")
    found = {}
    with np.load(path, allow_pickle=False) as archive:
        for key in archive.files:
            try:
                found[str(key)] = archive[key]
            except ValueError as error:
                raise InputError(
                    f"{path}: {key!r} is an array of objects, which only running code could "
                    f"read: leave it out; {_HOW}"
                ) from error
    return found


def floats(array: Any) -> torch.Tensor:
    """Return a float32 tensor of an array's values, as `load_data_to_gpu` makes them."""
    return torch.from_numpy(np.array(array, dtype=np.float32))


def _loaded(path: Path, key: str, value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind not in "fiub":
            return value
        return floats(value) if value.ndim else value.item()
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {inner: _loaded(path, key, item) for inner, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_loaded(path, key, item) for item in value)
    if value is None or isinstance(value, (bool, int, float, str, torch.Size)):
        return value
    raise InputError(
        f"{path}: {key!r} holds a {type(value).__name__}: a batch is made of {_KINDS}: {_HOW}"
    )


def _size(path: Path, entries: Mapping[str, Any]) -> int:
    if "batch_size" not in entries:
        has = ", ".join(sorted(entries)) or "nothing"
        raise InputError(f"{path}: has no 'batch_size', the number of its samples; it has {has}")
    value = entries["batch_size"]
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, (int, float)) and value >= 1 and math.isfinite(value) and value % 1 == 0:
        return int(value)
    raise InputError(f"{path}: its 'batch_size' is no whole number from 1")


def _check_samples(saved: SavedBatch) -> None:
    """Check that the entries are of as many samples as `batch_size` says."""
    boxes = saved.entries.get("gt_boxes")
    if isinstance(boxes, torch.Tensor) and len(boxes) != saved.batch_size:
        raise InputError(
            f"{saved.path}: its 'batch_size' is {saved.batch_size}, and its 'gt_boxes' are of "
            f"{len(boxes)} samples: save the batch as the loader made it"
        )
    for key in _SAMPLES_FIRST:
        rows = saved.entries.get(key)
        if isinstance(rows, torch.Tensor) and rows.dim() == 2 and len(rows):
            last = int(rows[:, 0].max())
            if last >= saved.batch_size:
                raise InputError(
                    f"{saved.path}: its 'batch_size' is {saved.batch_size}, and a row of its "
                    f"{key!r} is of sample {last}, counted from 0: save the batch as the loader "
                    "made it"
                )
