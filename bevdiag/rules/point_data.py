"""Rules about the data set's files and the values of its points."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bevdiag.config import Document
from bevdiag.config.nearest import did_you_mean
from bevdiag.config.parts import listed, text, whole
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import ConfigEvidence, Finding

_PATH, _INFOS = "DATA_CONFIG.DATA_PATH", "DATA_CONFIG.INFO_PATH"
_AUGMENTOR = "DATA_CONFIG.DATA_AUGMENTOR"
_AUGMENTORS = f"{_AUGMENTOR}.AUG_CONFIG_LIST"
_ENCODING = "DATA_CONFIG.POINT_FEATURE_ENCODING"
_STORED, _USED = f"{_ENCODING}.src_feature_list", f"{_ENCODING}.used_feature_list"
_COORDINATES = ("x", "y", "z")
_SOURCES = "MODEL.PFE.FEATURES_SOURCE"


def data_path_missing(evidence: ConfigEvidence) -> Iterator[Finding]:
    """A data path of the config does not exist.

    What it means: The data set cannot be opened, or is opened and found empty: OpenPCDet skips info
        files that are not there and trains on nothing.
    What is printed:
        No such file or directory: '....pkl'
        No such file or directory: '....bin'
        No such file or directory: '....npy'
        No such file or directory: '...ImageSets...'
        num_samples should be a positive integer value, but got num_samples=0
    Why it happens: Relative paths start from the folder that training is started in, tools/ as a
        rule, and the info files are made by a script that has to be run first.
    How to fix: Correct the path, or make the info files with the data set's create_..._infos
        command.
    Seen in: open-mmlab/OpenPCDet#244: training that ends at a kitti_dbinfos_train.pkl that is not
        there.
    """
    document, start = evidence.document, evidence.data_root
    written = text(document, _PATH)
    if start is None or written is None:
        return
    folder = start / written
    if not folder.is_dir():
        yield finding("BEV009", f"there is no folder {folder}", key=_PATH)
        return
    # nuScenes keeps each of its versions in a folder of its own.
    version = text(document, "DATA_CONFIG.VERSION")
    folders = (folder, *([folder / version] if version else []))
    for key, name in _named_files(evidence):
        if not any((base / name).exists() for base in folders):
            yield finding("BEV009", f"there is no file {folders[-1] / name}", key=key)


def _named_files(evidence: ConfigEvidence) -> Iterator[tuple[str, Path]]:
    """Every file that the config names below DATA_PATH, with its key."""
    document = evidence.document
    infos = document.get(_INFOS)
    lists = [f"{_INFOS}.{mode}" for mode in infos] if isinstance(infos, Mapping) else []
    lists += [f"{_AUGMENTORS}.{i}.DB_INFO_PATH" for i in range(len(listed(document, _AUGMENTORS)))]
    for key in lists:
        for index, name in enumerate(listed(document, key)):
            if isinstance(name, str):
                yield f"{key}.{index}", Path(name)


def point_feature_not_stored(evidence: ConfigEvidence) -> Iterator[Finding]:
    """A point feature is used that the data set's points do not have.

    What it means: The encoder of point features looks each used name up in the list of stored ones,
        and the first sample ends in a ValueError.
    What is printed:
        ValueError: '<...>' is not in list
        ValueError: tuple.index(x): x not in tuple
    Why it happens: used_feature_list was copied from another data set's config, or a name is spelt
        otherwise there.
    How to fix: Use names of src_feature_list alone; if the files do hold the value, enter it there
        in its column's place.
    Seen in: open-mmlab/OpenPCDet#288: lists of another data set, with a timestamp, beside points of
        four values.
    """
    document = evidence.document
    stored = _stored(document)
    if stored is None:
        return
    names = [str(name) for name in stored]
    for name in map(str, listed(document, _USED)):
        # The encoder takes the coordinates by their place.
        if name not in names and name not in _COORDINATES:
            yield finding(
                "BEV010",
                f"used_feature_list has {name}, and src_feature_list only {', '.join(names)}"
                f"{did_you_mean(name, names)}",
                key=_USED,
            )


def _stored(document: Document) -> tuple[Any, ...] | None:
    """Return the names of the stored values, where OpenPCDet's only encoder reads them."""
    stored, encoding = document.get(_STORED), text(document, f"{_ENCODING}.encoding_type")
    # A fork's encoder or data set may do anything.
    is_own = encoding in (None, "absolute_coordinates_encoding")
    return stored if isinstance(stored, tuple) and is_own else None


def sampled_points_mismatch(evidence: ConfigEvidence) -> Iterator[Finding]:
    """The ground-truth database is read with another number of values a point than the data set has.

    What it means: Objects from the database are cut into points of NUM_POINT_FEATURES values and
        laid beside the scene's points, which have those of src_feature_list. The first sampled
        object stops the loader, at an assertion or where the two are put together.
    What is printed:
        assert obj_points.shape[0] == info['num_points_in_gt']
        assert obj_points.shape[-1] == points.shape[-1] + 1
    Why it happens: The database was made from the files, and NUM_POINT_FEATURES stayed behind when
        the data set's features changed.
    How to fix: Write the number of src_feature_list's names, and make the database anew if the
        files changed.
    Seen in: open-mmlab/OpenPCDet#718: a database whose points are not those of the scene, as it was
        made with other sweeps.
    """  # noqa: E501
    document = evidence.document
    stored = _stored(document)
    if stored is None or "gt_sampling" in listed(document, f"{_AUGMENTOR}.DISABLE_AUG_LIST"):
        return
    for index, entry in enumerate(listed(document, _AUGMENTORS)):
        if not isinstance(entry, Mapping) or entry.get("NAME") != "gt_sampling":
            continue
        key = f"{_AUGMENTORS}.{index}.NUM_POINT_FEATURES"
        written = whole(document, key)
        # A database of several frames has the time as one more value, which sampling drops.
        if written is not None and written not in (len(stored), len(stored) + 1):
            yield finding(
                "BEV011",
                f"gt_sampling reads {written} values a point, but src_feature_list names "
                f"{len(stored)}",
                key=key,
            )


def raw_points_without_features(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Keypoints gather features of raw points that have none but their coordinates.

    What it means: VoxelSetAbstraction takes what a point has beside x, y and z as its features, and
        there is nothing: the first batch ends in an AttributeError.
    What is printed:
        'NoneType' object has no attribute 'contiguous' (in pfe)
    Why it happens: PV-RCNN was written for points with an intensity; a data set without one leaves
        three values.
    How to fix: Remove raw_points from FEATURES_SOURCE, or give the points a fourth value, be it a
        constant.
    Seen in: open-mmlab/OpenPCDet#762: PV-RCNN on a data set of bare coordinates.
    """
    document = evidence.document
    used = document.get(_USED)
    few = isinstance(used, tuple) and len(used) <= 3
    is_abstraction = text(document, "MODEL.PFE.NAME") == "VoxelSetAbstraction"
    if is_abstraction and few and "raw_points" in listed(document, _SOURCES):
        yield finding(
            "BEV206",
            "FEATURES_SOURCE has raw_points, whose features beside x, y and z are none",
            key=_SOURCES,
            module="pfe",
        )
