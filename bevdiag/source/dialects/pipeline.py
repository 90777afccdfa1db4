"""A scene through the config's own training pipeline: what its families share."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch

from bevdiag.scenes import Batch
from bevdiag.source import build
from bevdiag.source.dialects.protocol import Loaded
from bevdiag.source.failures import failed

_SEED = 0
_AT_REST: dict[str, Callable[[Any], Any]] = {
    "rot_range": lambda value: [0.0, 0.0],
    "scale_ratio_range": lambda value: [1.0, 1.0],
    "translation_std": lambda value: [0.0, 0.0, 0.0] if isinstance(value, (list, tuple)) else 0.0,
    "global_rot_noise": lambda value: [0.0, 0.0],
    "global_scale_noise": lambda value: [1.0, 1.0],
    "global_translate_std": lambda value: 0.0,
}
"""Settings of transforms, by their names, which leave a frame where it is."""
_LEFT_OUT = {
    "ObjectSample": "it pastes objects of a database that is part of the data set",
    "ObjectNoise": "it moves each object a little",
}
"""Transforms that are not run, by what their names end in."""


class PipelineSupply(ABC):
    """The batches of a scene.

    Args:
        scene: points and boxes.
        config: the config as the family's code has read it.
        findings: gets a sentence for what was left out.
    """

    failure = ""

    def __init__(self, scene: Batch, config: Any, findings: list[str]) -> None:
        self.scene = scene
        self.config = config
        self.own: dict[str, Any] = {}
        self._findings = findings

    def load(self) -> None:
        """Run the pipeline once for each sample.

        Raises:
            NoVerdictError: it fails; there is no other way to such a batch.
        """
        with build.real_values():
            try:
                _seed()
                self.own = self.collated()
            except Exception as error:
                failure = failed(error, ())
                failure.args = (
                    "the config's own training pipeline does not run on a synthetic sample: "
                    f"{failure}",
                )
                raise failure from error

    def batch(self, *, with_values: bool = False, labelled: bool = True) -> Loaded:
        boxes = torch.from_numpy(np.array(self.scene.gt_boxes, dtype=np.float32))
        return Loaded(dict(self.own), boxes)

    def add(self, key: str) -> bool:
        return False

    @abstractmethod
    def counts(self) -> tuple[int | None, int | None]: ...

    @abstractmethod
    def collated(self) -> dict[str, Any]:
        """Run the pipeline for each sample, and join the samples with the family's own code."""

    def kept(self, transforms: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the transforms that are run, at rest; the others are said to be left out."""
        kept = []
        for step in transforms:
            name = str(step["type"])
            why = next((_LEFT_OUT[end] for end in _LEFT_OUT if name.endswith(end)), None)
            if why is None:
                kept.append(at_rest(step))
            else:
                self.leave_out(name, why)
        return kept

    def leave_out(self, name: str, why: str) -> None:
        """Say once that a transform is not run."""
        sentence = f"{name} was left out: {why}"
        if sentence not in self._findings:
            self._findings.append(sentence)


def at_rest(step: Mapping[str, Any]) -> dict[str, Any]:
    """No rotation, scaling or shift at random: the frame stays the one that was given."""
    return {key: _AT_REST[key](value) if key in _AT_REST else value for key, value in step.items()}


def _seed() -> None:
    random.seed(_SEED)
    np.random.seed(_SEED)
    torch.manual_seed(_SEED)
