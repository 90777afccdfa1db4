"""The repository's own data pipeline on raw points and boxes that bevdiag supplies.

Its dataset class is built as its config says; what reads files is left out or answered (see
`frames`), and the rest is the repository's own: feature encoder, augmentor, processors, collation.
"""

import importlib
import inspect
import logging
import pkgutil
from collections.abc import Iterator, Mapping
from functools import partial
from traceback import walk_tb
from types import ModuleType
from typing import Any

import numpy as np
from torch.utils._pytree import tree_map_only

from bevdiag.scenes import Batch
from bevdiag.source.dialects.pcdet.frames import Frames, answer_readers
from bevdiag.source.dialects.pcdet.read_keys import watched
from bevdiag.source.failures import as_failure
from bevdiag.source.saved_batch import floats
from bevdiag.source.settings import SourceSettings
from bevdiag.source.state import note

_TEMPLATE = "DatasetTemplate"
_AT_REST = {"ROT_ANGLE": 0.0, "ROT_RANGE": 0.0, "TRANSLATE_STD": 0.0, "TRANSLATION_STD": 0.0}
"""Of augmentations, by what their keys contain: the values that leave a frame where it is."""
_SCALES = ("SCALE_RANGE", "SCALING_RANGE")
_SCALES_AT_REST = (0.9995, 1.0006)
"""As good as 1; OpenPCDet's scaling fails where both ends are within 0.001."""
_OF_OBJECTS = ("LOCAL_ROT", "LOCAL_SCALE", "LOCAL_TRANSLATION")
"""Keys of augmentations that move each object by itself; loops that a compiler is missed for."""
_OF_FILES = ("DB_INFO", "DB_PATH")
"""Keys of augmentations that take objects from a database of the data set."""
_MOST_LEFT_OUT = 32


class Loader:
    """A repository's dataset object, and the batch that its code makes of a scene.

    Args:
        package: the repository's, imported already.
        settings: the config.
        findings: gets a sentence for what was not run.

    Attributes:
        dataset: an object of the class that the config names, as far as it can be built.
        failure: why `prepare_data` was called without its `__getitem__`.

    Raises:
        Exception: there is no such class, or what its constructor raises.
    """

    def __init__(self, package: str, settings: SourceSettings, findings: list[str]) -> None:
        self._settings = settings
        self._findings = findings
        self.failure = ""
        kind, template = _dataset_class(package, settings)
        config = watched(settings.values()).DATA_CONFIG
        entries = _augmentations(config)
        # At rest they move nothing.
        entries[:] = [entry for entry in entries if not _names(entry, _OF_OBJECTS)]
        for entry in entries:
            _put_to_rest(entry)
        for entry in [entry for entry in entries if _names(entry, _OF_FILES)]:
            self._leave_out(entries, entry, _sampling_left_out(entry))
        logger = logging.getLogger("bevdiag.repository")
        logger.addHandler(logging.NullHandler())
        self.dataset = kind.__new__(kind)
        given = {"dataset_cfg": config, "class_names": list(settings.class_names)}
        due = [kind, template]
        while due:
            try:
                due[0].__init__(self.dataset, **given, training=True, logger=logger)
                return
            except Exception as error:
                entry = _culprit(error, entries)
                if entry is not None:
                    self._leave_out_failed(entries, entry, error)
                elif hasattr(self.dataset, "data_processor"):
                    # The files are what failed; what the class had set by then remains.
                    return
                elif due.pop(0) is template:
                    raise

    def collated(self, batch: Batch) -> dict[str, Any]:
        """Return the batch dict before it is loaded to the GPU: arrays, lists and numbers.

        Raises:
            Exception: what the repository's code raises.
        """
        encoding = self.dataset.dataset_cfg.get("POINT_FEATURE_ENCODING")
        encoding = encoding if isinstance(encoding, Mapping) else {}
        stored = tuple(encoding.get("src_feature_list") or self._settings.point_features)
        columns = int(encoding.get("num_features") or len(stored))
        if columns > len(stored):
            self._findings.append(
                f"a point has {columns} values, of which the config names {len(stored)}; the other "
                "ones hold 1 and 2 in turn"
            )
        frames = Frames(batch, self._settings, stored, columns)
        samples = [self._sample(frames, index) for index in range(len(frames))]
        return dict(self.dataset.collate_batch(samples))

    def _sample(self, frames: Frames, index: int) -> dict[str, Any]:
        entries = _augmentations(self.dataset.dataset_cfg)
        for _ in range(_MOST_LEFT_OUT):
            try:
                return self._loaded(frames, index)
            except Exception as error:
                entry = _culprit(error, entries)
                if entry is None:
                    raise
                queue = self.dataset.data_augmentor.data_augmentor_queue
                queue[:] = [step for step in queue if not _holds(step, entry)]
                self._leave_out_failed(entries, entry, error)
        return self._loaded(frames, index)

    def _loaded(self, frames: Frames, index: int) -> dict[str, Any]:
        """By `__getitem__` with its file readers answered, else by `prepare_data` alone."""
        dataset = self.dataset
        held = vars(dataset).items()
        lists = [name for name, value in held if isinstance(value, list) and name.endswith("infos")]
        if lists:
            in_camera = hasattr(type(dataset), "get_calib")
            for name in lists:
                infos = [frames.info(i, in_camera=in_camera) for i in range(len(frames))]
                setattr(dataset, name, infos)
            answer_readers(dataset, frames, index)
            try:
                return dict(dataset[index])
            except Exception as error:
                if _culprit(error, _augmentations(dataset.dataset_cfg)) is not None:
                    raise
                self.failure = f"a frame was not loaded by `__getitem__`: {as_failure(error)}"
                if self.failure not in self._findings:
                    self._findings.append(self.failure)
        return dict(dataset.prepare_data(data_dict=frames.raw(index)))

    def _leave_out_failed(self, entries: list[Any], entry: Any, error: Exception) -> None:
        said = f"the augmentation {entry.get('NAME')} was left out: {as_failure(error)}"
        self._leave_out(entries, entry, said)

    def _leave_out(self, entries: list[Any], entry: Any, said: str) -> None:
        entries[:] = [other for other in entries if other is not entry]
        self._findings.append(said)


def to_tensors(collated: Mapping[str, Any], own: Any) -> dict[str, Any]:
    """Return the batch as the repository's own `load_data_to_gpu` leaves it.

    Where it has none, or that cannot run here, arrays of numbers become float32 tensors.
    """
    if own is not None:
        loaded = dict(collated)
        try:
            own(loaded)
            return loaded
        except Exception as error:
            note(
                f"the batch is float32, as load_data_to_gpu does not run here: {as_failure(error)}"
            )
    return {
        key: floats(v) if isinstance(v, np.ndarray) and v.dtype.kind in "fiub" else v
        for key, v in collated.items()
    }


def _dataset_class(package: str, settings: SourceSettings) -> tuple[Any, Any]:
    """Find the class that DATA_CONFIG.DATASET names, and the template that it is made from."""
    datasets = importlib.import_module(f"{package}.datasets")
    name = str(settings.document.get("DATA_CONFIG.DATASET") or "")
    registered = getattr(datasets, "__all__", None)
    kind = registered.get(name) if isinstance(registered, dict) else None
    kind = kind or getattr(datasets, name, None)
    template = getattr(datasets, _TEMPLATE, None) or next(_templates(datasets))
    return (kind if inspect.isclass(kind) else template), template


def _templates(datasets: ModuleType) -> Iterator[Any]:
    for module in pkgutil.iter_modules(datasets.__path__, f"{datasets.__name__}."):
        if not module.ispkg:
            found = getattr(importlib.import_module(module.name), _TEMPLATE, None)
            if found is not None:
                yield found
    raise LookupError(f"{datasets.__name__} has no {_TEMPLATE}")


def _augmentations(config: Any) -> list[Any]:
    """Return the config's own list of augmentations, to be changed in place."""
    augmentor = config.get("DATA_AUGMENTOR") or []
    entries = augmentor if isinstance(augmentor, list) else augmentor.get("AUG_CONFIG_LIST") or []
    return entries if isinstance(entries, list) else []


def _names(entry: Any, parts: tuple[str, ...]) -> bool:
    """Whether a key of an augmentation contains one of these."""
    return any(part in key for key in entry for part in parts)


def _put_to_rest(entry: Any) -> None:
    """No rotation, scaling or shift at random: the frame stays the one that was given."""
    for key, value in entry.items():
        for part, rest in _AT_REST.items():
            if part in key:
                entry[key] = _filled(value, rest)
        if any(part in key for part in _SCALES):
            entry[key] = list(_SCALES_AT_REST) if isinstance(value, list) else 1.0


def _filled(value: Any, number: float) -> Any:
    return tree_map_only((int, float), lambda _: number, value)


def _sampling_left_out(entry: Any) -> str:
    groups = entry.get("SAMPLE_GROUPS")
    listed = groups if isinstance(groups, list) else []
    wanted = [f"{count} {name}" for name, _, count in (str(g).partition(":") for g in listed)]
    said = f"{entry.get('NAME')} was left out, whose database is part of the data set"
    if not wanted:
        return said
    return f"{said}: it fills a sample up to {', '.join(wanted)} boxes, and adds their points"


def _culprit(error: BaseException, entries: list[Any]) -> Any:
    """Find the augmentation that was being built or run when it failed, None where none was."""
    found, ran_in_augmentor = None, False
    for frame, _ in walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if "augmentor/" in file or "augment" in file.rpartition("/")[2]:
            ran_in_augmentor = True
        for value in frame.f_locals.values():
            found = next((entry for entry in entries if _holds(value, entry)), found)
    # A loop that built all of them still holds the last one.
    return found if ran_in_augmentor else None


def _holds(value: Any, entry: Any) -> bool:
    """Whether a value is an entry of the config, a function bound to it or an object of it."""
    bound = getattr(value, "keywords", None) if isinstance(value, partial) else None
    held = bound or getattr(value, "__dict__", {})
    if value is entry:
        return True
    return not isinstance(value, type) and any(item is entry for item in list(held.values()))
