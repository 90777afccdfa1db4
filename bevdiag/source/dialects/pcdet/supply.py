"""What a repository's model is given: a dataset object to be built with, and its batches."""

from typing import Any

import torch

from bevdiag.scenes import Batch
from bevdiag.source import build
from bevdiag.source.dialects.pcdet import loader
from bevdiag.source.dialects.pcdet.cameras import Cameras
from bevdiag.source.dialects.pcdet.dataset import FakeDataset, source_batch
from bevdiag.source.dialects.pcdet.frames import Frames
from bevdiag.source.dialects.protocol import Loaded
from bevdiag.source.failures import as_failure
from bevdiag.source.settings import SourceSettings
from bevdiag.source.stubs.packages import EasyDict

_VALUES_BELOW = 3
"""Arrays of as many dimensions are features without values in a trace, unless their name says
that they are boxes or coordinates."""
_GEOMETRY = ("box", "coord", "num_points", "matrix", "trans_", "2", "intrinsics", "masks")


class Supply:
    """The repository's own dataset and batch where its code makes them, else bevdiag's.

    Args:
        package: the repository's, imported already.
        batch: the scene.
        settings: the config.
        findings: gets a sentence for what was left out or did not work.
        loads: whether the repository's code makes the batch; the scene is taken as it is where not.

    Attributes:
        dataset: what the model is built with.
        failure: why the repository's data pipeline did not run, in a sentence.
    """

    def __init__(
        self,
        package: str,
        batch: Batch,
        settings: SourceSettings,
        findings: list[str],
        *,
        loads: bool,
    ) -> None:
        self._batch = batch
        self._settings = settings
        self._findings = findings
        self._loader: loader.Loader | None = None
        self._extras: dict[str, Any] = {}
        self._own: dict[str, Any] | None = None
        self.failure = ""
        self.dataset: Any = FakeDataset(settings, EasyDict(settings.values()))
        with build.real_values():
            try:
                opened = loader.open_dataset(package, settings, findings)
            except ModuleNotFoundError as error:
                if error.name != f"{package}.datasets":
                    self._note(error)
            except Exception as error:
                self._note(error)
            else:
                self.dataset = opened
                if loads:
                    self._loader = loader.Loader(opened, settings, findings)

    def load(self) -> None:
        """Have the repository's code make the batch; what fails there is a finding."""
        if self._loader is None:
            return
        with build.real_values():
            try:
                self._own = loader.to_tensors(self._loader.collated(self._batch))
                self.failure = self._loader.failure
            except Exception as error:
                self._note(error)

    def batch(self, *, with_values: bool = False, labelled: bool = True) -> Loaded:
        """The batch dict; features without values unless `with_values`."""
        if self._own is None:
            made = source_batch(self._batch, self._settings, with_voxels=with_values)
            made |= self._extras
        else:
            made = {**self._own, **self._extras}
            if not with_values:
                made = {key: _valueless(key, value) for key, value in made.items()}
        boxes = made["gt_boxes"] if labelled else made.pop("gt_boxes")
        return Loaded(made, boxes)

    def add(self, key: str) -> bool:
        """Give the batch an entry that the model asks for; False where nobody knows its like."""
        if key in self._extras or (self._own is not None and key in self._own):
            return False
        config = getattr(self.dataset, "dataset_cfg", {})
        made = Cameras(self._frames(), config, self._calibration()).make(key)
        if made is None:
            return False
        self._extras[key] = made
        self._findings.append(
            f"the batch's {key!r} is synthetic: the repository's own loading could not make it"
        )
        return True

    def counts(self) -> tuple[int, int]:
        """Points and voxels of the batch."""
        if self._own is None:
            return len(self._batch.points), self._batch.num_voxels
        points, voxels = self._own.get("points"), self._own.get("voxels")
        return (0 if points is None else len(points)), (0 if voxels is None else len(voxels))

    def _frames(self) -> Frames:
        settings = self._settings
        return Frames(
            self._batch,
            named=settings.point_features,
            stored=settings.point_features,
            columns=len(settings.point_features),
            class_names=settings.class_names,
            box_size=settings.box_size,
        )

    def _calibration(self) -> Any:
        frames = self._frames()
        return loader.calibrated(self.dataset, frames)

    def _note(self, error: Exception) -> None:
        self.failure = (
            "the repository's own data pipeline did not run, so points, voxels and boxes are "
            f"bevdiag's: {as_failure(error)}"
        )
        self._findings.append(self.failure)


def _valueless(key: str, value: Any) -> Any:
    if not isinstance(value, torch.Tensor) or value.dim() < _VALUES_BELOW:
        return value
    if any(part in key for part in _GEOMETRY) or not value.is_floating_point():
        return value
    return torch.empty(value.shape, dtype=value.dtype, device="meta")
