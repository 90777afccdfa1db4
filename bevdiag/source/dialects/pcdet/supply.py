"""What a repository's model is given: a dataset object to be built with, and its batches."""

from typing import Any

from bevdiag.scenes import Batch
from bevdiag.source import build
from bevdiag.source.dialects.pcdet import loader
from bevdiag.source.dialects.pcdet.cameras import Cameras
from bevdiag.source.dialects.pcdet.dataset import FakeDataset, source_batch
from bevdiag.source.dialects.pcdet.frames import Frames
from bevdiag.source.dialects.pcdet.proposals import Proposals
from bevdiag.source.dialects.protocol import Loaded, without_values
from bevdiag.source.failures import as_failure
from bevdiag.source.saved_batch import SavedBatch
from bevdiag.source.settings import SourceSettings
from bevdiag.source.stubs.packages import EasyDict


class Supply:
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
        self._batch = batch
        self._settings = settings
        self._findings = findings
        self._loader: loader.Loader | None = None
        self._extras: dict[str, Any] = {}
        self._own: dict[str, Any] | None = None
        self._failure = ""
        if isinstance(batch, SavedBatch):
            self._own, loads = dict(batch.entries), False
            findings = []  # What its code leaves out of a batch, this one has.
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
        if self._loader is None or isinstance(self._batch, SavedBatch):
            return
        with build.real_values():
            try:
                collated = self._loader.collated(self._batch)
                self._own = loader.to_tensors(collated, self._to_gpu)
                self._failure = self._loader.failure
            except Exception as error:
                self._note(error)

    def batch(self, *, with_values: bool = False, labelled: bool = True) -> Loaded:
        """Return the batch dict; features without values unless `with_values`."""
        if self._own is None:
            assert not isinstance(self._batch, SavedBatch)
            made = source_batch(self._batch, self._settings, with_voxels=with_values)
            made |= self._extras
        else:
            made = {**self._own, **self._extras}
            if not with_values:
                made = {key: without_values(key, value) for key, value in made.items()}
        boxes = made.get("gt_boxes") if labelled else made.pop("gt_boxes", None)
        return Loaded(made, boxes)

    def add(self, key: str) -> bool:
        """Give the batch an entry that the model asks for; False where nobody knows its like."""
        if isinstance(self._batch, SavedBatch):
            return False
        if key in self._extras or (self._own is not None and key in self._own):
            return False
        config = getattr(self.dataset, "dataset_cfg", {})
        made = Cameras(self._frames(), config, self._calibration()).make(key)
        if made is None:
            made = Proposals(self._batch, config).make(key)
        if made is None:
            return False
        self._extras[key] = made
        self._findings.append(
            f"the batch's {key!r} is synthetic: the repository's own loading could not make it"
        )
        return True

    @property
    def failure(self) -> str:
        """Why an entry that the model asks for is not there, and what helps."""
        if isinstance(self._batch, SavedBatch):
            has = ", ".join(sorted(self._batch.entries))
            return f"{self._batch.path} has no such entry: it has {has}"
        return (
            "bevdiag's scenes hold points, voxels and boxes, and the detector has not put it there"
            + (f"; {self._failure}" if self._failure else "")
            + "; --batch FILE takes a batch of your own loader"
        )

    def counts(self) -> tuple[int, int]:
        """Points and voxels of the batch."""
        if self._own is None:
            assert not isinstance(self._batch, SavedBatch)
            return len(self._batch.points), self._batch.num_voxels
        points, voxels = self._own.get("points"), self._own.get("voxels")
        return (0 if points is None else len(points)), (0 if voxels is None else len(voxels))

    def _frames(self) -> Frames:
        settings = self._settings
        assert not isinstance(self._batch, SavedBatch)
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
        self._failure = (
            "the repository's own data pipeline did not run, so points, voxels and boxes are "
            f"bevdiag's: {as_failure(error)}"
        )
        self._findings.append(self._failure)
