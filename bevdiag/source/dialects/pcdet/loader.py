"""The repository's own data pipeline on raw points and boxes that bevdiag supplies.

Its dataset class is built as its config says; what reads files is left out or answered (see
`frames`), and the rest is the repository's own: feature encoder, augmentor, processors, collation.
"""

import importlib
import inspect
import logging
import pkgutil
import random
from collections.abc import Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import torch

from bevdiag.scenes import Batch
from bevdiag.source.dialects.pcdet.frames import Frames, Getters, calibration_of
from bevdiag.source.dialects.pcdet.reading import watched
from bevdiag.source.failures import as_failure
from bevdiag.source.settings import SourceSettings
from bevdiag.source.state import note

_TEMPLATE = "DatasetTemplate"
_SEED = 0
_AT_REST = {"ROT_ANGLE": 0.0, "ROT_RANGE": 0.0, "TRANSLATE_STD": 0.0, "TRANSLATION_STD": 0.0}
"""Of augmentations, by what their keys contain: the values that leave a frame where it is."""
_SCALES = ("SCALE_RANGE", "SCALING_RANGE")
_SCALES_AT_REST = (0.9995, 1.0006)
"""As good as 1; OpenPCDet's scaling fails where both ends are within 0.001."""
_OF_OBJECTS = ("LOCAL_ROT", "LOCAL_SCALE", "LOCAL_TRANSLATION")
"""Keys of augmentations that move each object by itself; loops that a compiler is missed for."""
_MOST_LEFT_OUT = 32


class Loader:
    """A repository's dataset object, and the batch that its code makes of a scene.

    Args:
        dataset: what the class's constructor made.
        settings: the config.
        left_out: sentences about what was not run.

    Attributes:
        failure: why `prepare_data` was called without its `__getitem__`.
    """

    def __init__(self, dataset: Any, settings: SourceSettings, left_out: list[str]) -> None:
        self.dataset = dataset
        self._settings = settings
        self._findings = left_out
        self.failure = ""

    def collated(self, batch: Batch) -> dict[str, Any]:
        """Return the batch dict before it is loaded to the GPU: arrays, lists and numbers.

        Raises:
            Exception: what the repository's code raises.
        """
        encoding = _mapping(self.dataset.dataset_cfg.get("POINT_FEATURE_ENCODING"))
        named = self._settings.point_features
        stored = tuple(encoding.get("src_feature_list") or named)
        columns = int(encoding.get("num_features") or len(stored))
        if columns > len(stored):
            self._findings.append(
                f"a point has {columns} values, of which the config names {len(stored)}; the other "
                "ones hold 1 and 2 in turn"
            )
        frames = Frames(
            batch,
            named=named,
            stored=stored,
            columns=columns,
            class_names=self._settings.class_names,
            box_size=self._settings.box_size,
        )
        _seed()
        samples = [self._sample(frames, index) for index in range(len(frames))]
        collated: dict[str, Any] = dict(self.dataset.collate_batch(samples))
        return collated

    def _sample(self, frames: Frames, index: int) -> dict[str, Any]:
        augmentations = _augmentations(self.dataset.dataset_cfg)
        for _ in range(_MOST_LEFT_OUT):
            try:
                return self._loaded(frames, index)
            except Exception as error:
                entry = _culprit(error, augmentations)
                if entry is None:
                    raise
                self._leave_out(entry, error)
        return self._loaded(frames, index)

    def _loaded(self, frames: Frames, index: int) -> dict[str, Any]:
        """By `__getitem__` with its file readers answered, else by `prepare_data` alone."""
        dataset = self.dataset
        getters = Getters(frames)
        getters.index = index
        lists = [
            name
            for name, value in vars(dataset).items()
            if isinstance(value, list) and name.endswith("infos")
        ]
        if lists:
            in_camera = hasattr(type(dataset), "get_calib")
            for name in lists:
                setattr(
                    dataset, name, [frames.info(i, in_camera=in_camera) for i in range(len(frames))]
                )
            getters.replace(dataset)
            try:
                return dict(dataset[index])
            except Exception as error:
                if _culprit(error, _augmentations(dataset.dataset_cfg)) is not None:
                    raise
                self.failure = f"a frame was not loaded by `__getitem__`: {as_failure(error)}"
                self._note(self.failure)
        return dict(dataset.prepare_data(data_dict=frames.raw(index)))

    def _note(self, sentence: str) -> None:
        if sentence not in self._findings:
            self._findings.append(sentence)

    def _leave_out(self, entry: Any, error: BaseException) -> None:
        queue = self.dataset.data_augmentor.data_augmentor_queue
        queue[:] = [step for step in queue if not _holds(step, entry)]
        self._findings.append(
            f"the augmentation {entry.get('NAME')} was left out: {as_failure(error)}"
        )
        entries = _augmentations(self.dataset.dataset_cfg)
        entries[:] = [other for other in entries if other is not entry]


def open_dataset(package: str, settings: SourceSettings, findings: list[str]) -> Any:
    """Open the dataset that the config names: an object of its class, as far as it can be built.

    Raises:
        Exception: there is no such class, or what its constructor raises.
    """
    kind, template = _dataset_class(package, settings)
    config = watched(settings.values()).DATA_CONFIG
    entries = _augmentations(config)
    # At rest they move nothing.
    entries[:] = [entry for entry in entries if not _moves_objects(entry)]
    for entry in entries:
        _put_to_rest(entry)
    for entry in [entry for entry in entries if _needs_files(entry)]:
        entries[:] = [other for other in entries if other is not entry]
        findings.append(_sampling_left_out(entry))
    logger = logging.getLogger("bevdiag.repository")
    logger.addHandler(logging.NullHandler())
    dataset = kind.__new__(kind)
    for cls in (kind, template):
        while True:
            try:
                cls.__init__(
                    dataset,
                    dataset_cfg=config,
                    class_names=list(settings.class_names),
                    training=True,
                    logger=logger,
                )
                return dataset
            except Exception as error:
                entry = _culprit(error, entries)
                if entry is None:
                    if hasattr(dataset, "data_processor"):
                        # The files are what failed; what the class had set by then remains.
                        return dataset
                    if cls is template:
                        raise
                    break
                entries[:] = [other for other in entries if other is not entry]
                findings.append(
                    f"the augmentation {entry.get('NAME')} was left out: {as_failure(error)}"
                )
    return dataset


def calibrated(dataset: Any, frames: Frames) -> Any:
    """Make the calibration object that the dataset's class reads; None where it reads none."""
    method = getattr(type(dataset), "get_calib", None)
    return None if method is None else lambda: calibration_of(method, frames)


def to_tensors(collated: Mapping[str, Any], own: Any) -> dict[str, Any]:
    """Return the batch as the repository's own `load_data_to_gpu` leaves it.

    Where it has none, or that cannot run here, arrays of numbers become float32 tensors.
    """
    loaded: dict[str, Any] = dict(collated)
    if own is not None:
        try:
            own(loaded)
        except Exception as error:
            note(
                f"the batch is float32, as load_data_to_gpu does not run here: {as_failure(error)}"
            )
        else:
            return loaded
    loaded = {}
    for key, value in collated.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            loaded[key] = torch.from_numpy(np.array(value, dtype=np.float32))
        else:
            loaded[key] = value
    return loaded


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


def _needs_files(entry: Any) -> bool:
    return any("DB_INFO" in key or "DB_PATH" in key for key in entry)


def _moves_objects(entry: Any) -> bool:
    return any(part in key for key in entry for part in _OF_OBJECTS)


def _put_to_rest(entry: Any) -> None:
    """No rotation, scaling or shift at random: the frame stays the one that was given."""
    for key, value in entry.items():
        for part, rest in _AT_REST.items():
            if part in key:
                entry[key] = _filled(value, rest)
        if any(part in key for part in _SCALES):
            entry[key] = list(_SCALES_AT_REST) if isinstance(value, list) else 1.0


def _filled(value: Any, number: float) -> Any:
    if isinstance(value, list):
        return [_filled(item, number) for item in value]
    return number if isinstance(value, (int, float)) else value


def _sampling_left_out(entry: Any) -> str:
    groups = entry.get("SAMPLE_GROUPS")
    listed = groups if isinstance(groups, list) else []
    wanted = [f"{count} {name}" for name, _, count in (str(g).partition(":") for g in listed)]
    up_to = (
        f": it fills a sample up to {', '.join(wanted)} boxes, and adds their points"
        if wanted
        else ""
    )
    return f"{entry.get('NAME')} was left out, whose database is part of the data set{up_to}"


def _culprit(error: BaseException, entries: list[Any]) -> Any:
    """Find the augmentation that was being built or run when it failed, None where none was."""
    trace = error.__traceback__
    found = None
    while trace is not None:
        for value in trace.tb_frame.f_locals.values():
            found = next((entry for entry in entries if _holds(value, entry)), found)
        trace = trace.tb_next
    # A loop that built all of them still holds the last one.
    return found if found is not None and _ran_in_augmentor(error) else None


def _ran_in_augmentor(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None:
        if "augment" in trace.tb_frame.f_code.co_filename.rpartition("/")[2] or (
            "augmentor/" in trace.tb_frame.f_code.co_filename
        ):
            return True
        trace = trace.tb_next
    return False


def _holds(value: Any, entry: Any) -> bool:
    """Whether a value is an entry of the config, a function bound to it or an object of it."""
    bound = getattr(value, "keywords", None) if isinstance(value, partial) else None
    held = bound or getattr(value, "__dict__", {})
    if value is entry:
        return True
    return not isinstance(value, type) and any(item is entry for item in list(held.values()))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _seed() -> None:
    random.seed(_SEED)
    np.random.seed(_SEED)
    torch.manual_seed(_SEED)
