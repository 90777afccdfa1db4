"""A scene through the config's own training pipeline: files in the scratch folder, then it runs."""

from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

from bevdiag.source.dialects.mmengine.config import required, training_set
from bevdiag.source.dialects.mmengine.frames import Rig, sample
from bevdiag.source.dialects.pipeline import PipelineSupply, at_rest
from bevdiag.source.dialects.protocol import Loaded

_LEFT_OUT = {
    "ObjectSample": "it pastes objects of a database that is part of the data set",
    "ObjectNoise": "it moves each object a little",
}
"""Transforms that are not run, by what their names end in."""


class MMEngineSupply(PipelineSupply):
    """The batches of a scene, from files in the scratch folder."""

    def batch(self, *, with_values: bool = False, labelled: bool = True) -> Loaded:
        loaded = super().batch()
        if not with_values:
            loaded.entries["inputs"] = {
                key: _valueless(value) if "img" in key else value
                for key, value in loaded.entries["inputs"].items()
            }
        return loaded

    def counts(self) -> tuple[int | None, int | None]:
        clouds = self.own["inputs"].get("points")
        return (None if clouds is None else sum(map(len, clouds))), None

    def collated(self) -> dict[str, Any]:
        registry = required("mmdet3d.registry")
        dataset = training_set(self.config)
        steps: list[Any] = []
        for step in dataset.pipeline:
            name = str(step["type"])
            why = next((_LEFT_OUT[end] for end in _LEFT_OUT if name.endswith(end)), None)
            if why is None:
                steps.append(registry.TRANSFORMS.build(at_rest(step)))
            else:
                self.leave_out(name, why)
        folder = Path(mkdtemp())
        rig = Rig.of(dataset)
        samples = []
        for index in range(self.scene.batch_size):
            results: Any = sample(self.scene, index, dataset, rig, folder)
            for step in steps:
                results = step(results)
                if results is None:
                    raise ValueError(f"{type(step).__name__} drops the sample")
            samples.append(results)
        collate: Any = required("mmengine.dataset").pseudo_collate
        collated: dict[str, Any] = collate(samples)
        return collated


def _valueless(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return torch.empty(value.shape, dtype=value.dtype, device="meta")
    if isinstance(value, (list, tuple)):
        return type(value)(map(_valueless, value))
    return value
