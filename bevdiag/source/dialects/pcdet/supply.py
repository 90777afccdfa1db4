"""What a repository's model is given: a dataset object to be built with, and its batches."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from bevdiag.scenes import Batch
from bevdiag.source import build
from bevdiag.source.dialects.pcdet.batch_entries import synthetic
from bevdiag.source.dialects.pcdet.loader import Loader, to_tensors
from bevdiag.source.dialects.protocol import Loaded, NotInBatchError, Supply, without_values
from bevdiag.source.failures import as_failure
from bevdiag.source.saved_batch import SavedBatch, floats
from bevdiag.source.settings import SourceSettings
from bevdiag.source.stubs.small_packages import EasyDict
from bevdiag.trace.places import user_place
from bevdiag.trace.wiring_batch import WatchedBatch


class PcdetSupply(Supply):
    """The repository's own dataset and batch where its code makes them, else bevdiag's.

    Args:
        package: the repository's, imported already.
        batch: the scene, or a batch of the user's own loader, which is used as it is.
        settings: the config.
        findings: gets a sentence for what was left out or did not work.
        loads: whether the repository's code makes the batch; the scene is taken as it is where not.
        to_gpu: the repository's `load_data_to_gpu`, None where it has none.

    Attributes:
        dataset: what the model is built with.
    """

    def __init__(
        self,
        package: str,
        batch: Batch | SavedBatch,
        settings: SourceSettings,
        findings: list[str],
        *,
        loads: bool,
        to_gpu: Any = None,
    ) -> None:
        self._to_gpu = to_gpu
        self._batch: Any = batch
        self._settings = settings
        self._findings = findings
        self._loader: Loader | None = None
        self._extras: dict[str, Any] = {}
        self._own: dict[str, Any] | None = None
        self._failure = ""
        if isinstance(batch, SavedBatch):
            self._own, loads = dict(batch.entries), False
            findings = []  # What its code leaves out of a batch, this one has.
        self.dataset: Any = FakeDataset(settings, EasyDict(settings.values()))
        with build.real_values():
            try:
                opened = Loader(package, settings, findings)
            except ModuleNotFoundError as error:
                if error.name != f"{package}.datasets":
                    self._note(error)
            except Exception as error:
                self._note(error)
            else:
                self.dataset = opened.dataset
                self._loader = opened if loads else None

    def load(self) -> None:
        if self._loader is None:
            return
        with build.real_values():
            try:
                collated = self._loader.collated(self._batch)
                self._own = to_tensors(collated, self._to_gpu)
                self._failure = self._loader.failure
            except Exception as error:
                self._note(error)

    def batch(self, *, with_values: bool = False, labelled: bool = True) -> Loaded:
        if self._own is None:
            made = source_batch(self._batch, self._settings, with_voxels=with_values)
            made |= self._extras
        else:
            made = {**self._own, **self._extras}
            if not with_values:
                made = {key: without_values(key, value) for key, value in made.items()}
        boxes = made.get("gt_boxes") if labelled else made.pop("gt_boxes", None)
        return Loaded(made, boxes)

    def add(self, key: str) -> bool:
        if isinstance(self._batch, SavedBatch):
            return False
        if key in self._extras or (self._own is not None and key in self._own):
            return False
        made = synthetic(key, self._batch, self._settings, self.dataset)
        if made is None:
            return False
        self._extras[key] = made
        self._findings.append(
            f"the batch's {key!r} is synthetic: the repository's own loading could not make it"
        )
        return True

    @property
    def failure(self) -> str:
        if isinstance(self._batch, SavedBatch):
            has = ", ".join(sorted(self._batch.entries))
            return f"{self._batch.path} has no such entry: it has {has}"
        return (
            "bevdiag's scenes hold points, voxels and boxes, and the detector has not put it there"
            + (f"; {self._failure}" if self._failure else "")
            + "; --batch FILE takes a batch of your own loader"
        )

    def counts(self) -> tuple[int, int]:
        if self._own is None:
            return len(self._batch.points), self._batch.num_voxels
        points, voxels = self._own.get("points"), self._own.get("voxels")
        return (0 if points is None else len(points)), (0 if voxels is None else len(voxels))

    def _note(self, error: Exception) -> None:
        self._failure = (
            "the repository's own data pipeline did not run, so points, voxels and boxes are "
            f"bevdiag's: {as_failure(error)}"
        )
        self._findings.append(self._failure)


class FakeDataset:
    """The attributes of pcdet's DatasetTemplate that models read."""

    def __init__(self, settings: SourceSettings, config: EasyDict) -> None:
        self.dataset_cfg = config.DATA_CONFIG
        self.training = True
        self.class_names = list(settings.class_names)
        self.point_cloud_range = np.array(settings.point_cloud_range, dtype=np.float32)
        names = list(settings.point_features)
        self.point_feature_encoder = SimpleNamespace(
            used_feature_list=names, src_feature_list=[*names], num_point_features=len(names)
        )
        self.grid_size = (
            None if settings.grid_size is None else np.array(settings.grid_size, dtype=np.int64)
        )
        self.voxel_size = None if settings.voxel_size is None else list(settings.voxel_size)
        self.depth_downsample_factor = settings.depth_downsample_factor


class LoadedBatch(WatchedBatch):
    """The batch dict of one step; what is not in it is reported in bevdiag's words."""

    def __missing__(self, key: str) -> Any:
        raise NotInBatchError(
            key,
            f"{user_place(sys._getframe(2))}: the model reads {key!r} from its batch",
        )


def source_batch(
    batch: Batch, settings: SourceSettings, *, with_voxels: bool = False
) -> dict[str, Any]:
    """Make the batch dict: points, coordinates and boxes that have values, and meta voxels.

    `with_voxels` gives the voxels their values too. All tensors are float32, as
    `load_data_to_gpu` makes them.
    """
    points = batch.points
    if settings.num_sampled_points is not None:
        points = _sampled(points, batch.batch_size, settings.num_sampled_points)
    tensors: dict[str, Any] = {"points": floats(points)}
    if settings.max_points is not None:
        shape = (batch.num_voxels, settings.max_points, points.shape[1] - 1)
        tensors["voxels"] = (
            floats(batch.padded_voxels()) if with_voxels else torch.empty(shape, device="meta")
        )
        tensors["voxel_coords"] = floats(batch.voxel_coords())
        tensors["voxel_num_points"] = floats(batch.voxel_num_points())
    # Zeros before the class for what goes beyond the heading.
    beyond = [7] * (settings.box_size - 7)
    tensors["gt_boxes"] = floats(np.insert(batch.gt_boxes, beyond, 0, axis=-1))
    tensors["batch_size"] = batch.batch_size
    tensors["frame_id"] = np.array([str(i) for i in range(batch.batch_size)])
    tensors["use_lead_xyz"] = True
    return tensors


def _sampled(points: Any, batch_size: int, count: int) -> Any:
    """Every sample with exactly `count` points: cut, or repeated from the start."""
    of_sample = points[:, 0]
    samples = [points[of_sample == sample] for sample in range(batch_size)]
    return np.concatenate([np.resize(sample, (count, points.shape[1])) for sample in samples])
