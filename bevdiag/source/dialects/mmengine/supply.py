"""A scene through the config's own training pipeline: files in the scratch folder, then it runs."""

from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from bevdiag.scenes import Batch
from bevdiag.source.dialects.mmengine.config import required, training_set
from bevdiag.source.dialects.mmengine.frames import Rig, on_points, sample
from bevdiag.source.dialects.pipeline import PipelineSupply
from bevdiag.source.dialects.protocol import Loaded


class MMEngineSupply(PipelineSupply):
    """The batches of a scene, from files in the scratch folder."""

    def __init__(self, scene: Batch, config: Any, findings: list[str]) -> None:
        super().__init__(on_points(scene), config, findings)

    def batch(self, *, with_values: bool = False, labelled: bool = True) -> Loaded:
        loaded = super().batch()
        if not with_values:
            loaded.entries["inputs"] = {
                key: _valueless(value) if "img" in key else value
                for key, value in loaded.entries["inputs"].items()
            }
        truths = [sample.get("gt_instances_3d", {}) for sample in self.own["data_samples"]]
        if all("bboxes_3d" in truth for truth in truths):
            # Where transforms have turned them to.
            found = [truth.bboxes_3d for truth in truths]
            whole = [torch.cat((b.gravity_center, b.tensor[:, 3:7]), dim=1) for b in found]
            loaded = loaded._replace(boxes=pad_sequence(whole, batch_first=True))
        return loaded

    def counts(self) -> tuple[int | None, int | None]:
        clouds = self.own["inputs"].get("points")
        return (None if clouds is None else sum(map(len, clouds))), None

    def collated(self) -> dict[str, Any]:
        registry = required("mmdet3d.registry")
        dataset = training_set(self.config)
        steps = [registry.TRANSFORMS.build(step) for step in self.kept(dataset.pipeline)]
        folder = Path(mkdtemp())
        frames = _Frames(self.scene, dataset, folder)
        samples = []
        for index in range(len(frames)):
            results: Any = {**frames.get_data_info(index), "dataset": frames}
            for step in steps:
                results = step(results)
                if results is None:
                    raise ValueError(f"{type(step).__name__} drops the sample")
            samples.append(results)
        collate: Any = required("mmengine.dataset").pseudo_collate
        collated: dict[str, Any] = collate(samples)
        return collated


class _Frames:
    """The data set as transforms know it that mix a frame with another one of it."""

    def __init__(self, scene: Batch, dataset: Any, folder: Path) -> None:
        self._of = scene, dataset, Rig.of(dataset), folder

    def __len__(self) -> int:
        return self._of[0].batch_size

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Return a frame before any transform."""
        scene, *others = self._of
        return sample(scene, index, *others)


def _valueless(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return torch.empty(value.shape, dtype=value.dtype, device="meta")
    if isinstance(value, (list, tuple)):
        return type(value)(map(_valueless, value))
    return value
