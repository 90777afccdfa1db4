"""A scene through the config's own training pipeline: files in the scratch folder, then it runs."""

import random
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch

from bevdiag.errors import NoVerdictError
from bevdiag.scenes import Batch
from bevdiag.source import build
from bevdiag.source.dialects.mmengine.config import required, training_set
from bevdiag.source.dialects.mmengine.frames import Rig, sample
from bevdiag.source.dialects.protocol import Loaded
from bevdiag.source.failures import as_failure

_SEED = 0
_LEFT_OUT = {
    "ObjectSample": "it pastes objects of a database that is part of the data set",
    "ObjectNoise": "it moves each object a little",
}
"""Transforms that are not run, by what their names end in."""
_AT_REST: dict[str, Callable[[Any], Any]] = {
    "rot_range": lambda value: [0.0, 0.0],
    "scale_ratio_range": lambda value: [1.0, 1.0],
    "translation_std": lambda value: [0.0, 0.0, 0.0] if isinstance(value, (list, tuple)) else 0.0,
}
"""Settings of transforms, by their names, which leave a frame where it is."""


class PipelineSupply:
    """The batches of a scene.

    Args:
        scene: points and boxes.
        config: the config as MMEngine has read it.
        findings: gets a sentence for what was left out.
    """

    failure = ""

    def __init__(self, scene: Batch, config: Any, findings: list[str]) -> None:
        self._scene = scene
        self._config = config
        self._findings = findings
        self._own: dict[str, Any] = {}

    def load(self) -> None:
        """Run the pipeline once for each sample.

        Raises:
            NoVerdictError: it fails; there is no other way to such a batch.
        """
        with build.real_values():
            try:
                self._own = self._collated()
            except Exception as error:
                raise NoVerdictError(
                    f"the config's own train_pipeline does not run on a synthetic sample: "
                    f"{as_failure(error)}"
                ) from error

    def batch(self, *, with_values: bool = False, labelled: bool = True) -> Loaded:
        boxes = torch.from_numpy(np.array(self._scene.gt_boxes, dtype=np.float32))
        entries = dict(self._own)
        if not with_values:
            entries["inputs"] = {
                key: _valueless(value) if "img" in key else value
                for key, value in entries["inputs"].items()
            }
        return Loaded(entries, boxes)

    def add(self, key: str) -> bool:
        return False

    def counts(self) -> tuple[int | None, int | None]:
        clouds = self._own["inputs"].get("points")
        return (None if clouds is None else sum(map(len, clouds))), None

    def _collated(self) -> dict[str, Any]:
        registry = required("mmdet3d.registry")
        dataset = training_set(self._config)
        random.seed(_SEED)
        np.random.seed(_SEED)
        torch.manual_seed(_SEED)
        steps: list[Any] = []
        for step in dataset.pipeline:
            name = str(step["type"])
            why = next((_LEFT_OUT[end] for end in _LEFT_OUT if name.endswith(end)), None)
            if why is None:
                steps.append(registry.TRANSFORMS.build(_at_rest(step)))
            elif (sentence := f"{name} was left out: {why}") not in self._findings:
                self._findings.append(sentence)
        folder = Path(mkdtemp())
        rig = Rig.of(dataset)
        samples = []
        for index in range(self._scene.batch_size):
            results: Any = sample(self._scene, index, dataset, rig, folder)
            for step in steps:
                results = step(results)
                if results is None:
                    raise ValueError(f"{type(step).__name__} drops the sample")
            samples.append(results)
        collate: Any = required("mmengine.dataset").pseudo_collate
        collated: dict[str, Any] = collate(samples)
        return collated


def _at_rest(step: Any) -> dict[str, Any]:
    """No rotation, scaling or shift at random: the frame stays the one that was given."""
    return {key: _AT_REST[key](value) if key in _AT_REST else value for key, value in step.items()}


def _valueless(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return torch.empty(value.shape, dtype=value.dtype, device="meta")
    if isinstance(value, (list, tuple)):
        return type(value)(map(_valueless, value))
    return value
