"""A scene through the config's own data set: an info file in the scratch folder, then it runs."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

from bevdiag.scenes import Batch
from bevdiag.source.dialects.mmcv1.config import required, training_set
from bevdiag.source.dialects.mmcv1.infos import write_scene
from bevdiag.source.dialects.mmengine.frames import on_points
from bevdiag.source.dialects.pipeline import PipelineSupply
from bevdiag.source.dialects.protocol import Loaded

_CHANNELS = 3
_LEAST_SIDE = 16
"""Of an image, in pixels: no matrix of a camera is as large."""


class Mmcv1Supply(PipelineSupply):
    """The batches of a scene, from the data set that the config names."""

    def __init__(self, scene: Batch, config: Any, findings: list[str]) -> None:
        super().__init__(on_points(scene), config, findings)

    def batch(self, *, with_values: bool = False, labelled: bool = True) -> Loaded:
        loaded = super().batch()
        if with_values:
            return loaded
        entries = {key: _each_tensor(value, _valueless) for key, value in loaded.entries.items()}
        return Loaded(entries, loaded.boxes)

    def counts(self) -> tuple[int | None, int | None]:
        clouds = list(_tensors(moved(self.own.get("points", ()), lambda tensor: tensor)))
        return sum(map(len, clouds)) if clouds else None, None

    def collated(self) -> dict[str, Any]:
        written = deepcopy(training_set(self.config))
        written["pipeline"] = self.kept(written["pipeline"])
        dataset, last = write_scene(self.scene, written, Path(mkdtemp()))
        prepare = getattr(dataset, "prepare_train_data", None) or dataset.__getitem__
        samples = [prepare(index) for index in last]
        if any(sample is None for sample in samples):
            raise ValueError(f"{type(dataset).__name__} drops the sample")
        collate: Any = required("mmcv.parallel").collate
        collated: dict[str, Any] = collate(samples, samples_per_gpu=len(samples))
        return collated


def moved(value: Any, move: Callable[[torch.Tensor], Any] | None = None) -> Any:
    """Return what mmcv's `scatter` hands the one GPU of a process.

    Args:
        value: a batch, with its containers.
        move: what happens to each tensor that is not to stay on the host; None moves it.
    """
    if _is_container(value):
        data = value.data[0]
        return data if value.cpu_only else moved(data, move)
    return _each_tensor(value, move or _to_gpu, moved)


def _to_gpu(tensor: torch.Tensor) -> torch.Tensor:
    """Copy in any case: what has no values counts as the GPU's wherever it is."""
    return tensor.clone() if tensor.is_meta else tensor.to("cuda:0")


def is_image(value: Any) -> bool:
    """Whether there are images in what a model gets."""
    return any(map(_shows, _tensors(value)))


def _shows(tensor: torch.Tensor) -> bool:
    return (
        tensor.dim() > _CHANNELS
        and tensor.shape[-3] == _CHANNELS
        and min(tensor.shape[-2:]) >= _LEAST_SIDE
    )


def _valueless(tensor: torch.Tensor) -> torch.Tensor:
    if not _shows(tensor):
        return tensor
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")


def _is_container(value: Any) -> bool:
    return hasattr(value, "cpu_only") and hasattr(value, "data")


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    found: list[torch.Tensor] = []
    _each_tensor(value, found.append)
    yield from found


def _each_tensor(value: Any, change: Callable[[torch.Tensor], Any], inner: Any = None) -> Any:
    """Return the value with each tensor in it changed, also in containers and sequences."""
    inner = inner or _each_tensor
    if isinstance(value, torch.Tensor):
        return change(value)
    if _is_container(value):
        held = _each_tensor(value.data, change)
        named = {name: getattr(value, name) for name in ("stack", "padding_value", "cpu_only")}
        return type(value)(held, pad_dims=value.pad_dims, **named)
    if isinstance(value, dict):
        return {key: inner(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(inner(item, change) for item in value)
    return value
