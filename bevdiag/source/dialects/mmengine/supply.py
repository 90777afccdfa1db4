"""A scene through the config's own training pipeline: files in the scratch folder, then it runs."""

from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

from bevdiag.source.dialects.mmengine.config import required, training_set
from bevdiag.source.dialects.mmengine.frames import Rig, sample
from bevdiag.source.dialects.pipeline import PipelineSupply
from bevdiag.source.dialects.protocol import Loaded


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
        steps = [registry.TRANSFORMS.build(step) for step in self.kept(dataset.pipeline)]
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
