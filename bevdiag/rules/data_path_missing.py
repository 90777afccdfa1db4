"""A data path of the config does not exist.

What it means:
    The data set cannot be opened, or is opened and found empty: OpenPCDet skips info files that are
    not there and trains on nothing.

What is printed:
    No such file or directory: '...infos...pkl'

    FileNotFoundError: [Errno 2] No such file or directory

    num_samples should be a positive integer value, but got num_samples=0

Why it happens:
    Relative paths start from the folder that training is started in, tools/ as a rule, and the info
    files are made by a script that has to be run first.

How to fix:
    Correct the path, or make the info files with the data set's create_..._infos command.

Seen in:
    open-mmlab/OpenPCDet#244 (https://github.com/open-mmlab/OpenPCDet/issues/244): training that
    ends at a kitti_dbinfos_train.pkl that is not there.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from bevdiag.config.written import text
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding

_DATA = "DATA_CONFIG"
_PATH, _INFOS = f"{_DATA}.DATA_PATH", f"{_DATA}.INFO_PATH"
_AUGMENTORS = f"{_DATA}.DATA_AUGMENTOR.AUG_CONFIG_LIST"


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding for every path that is missing, where a folder to start from was named."""
    document, start = evidence.document, evidence.data_root
    written = text(document, _PATH)
    if start is None or written is None:
        return
    folder = start / written
    if not folder.is_dir():
        yield finding("BEV009", f"there is no folder {folder}", document=document, key=_PATH)
        return
    # nuScenes keeps each of its versions in a folder of its own.
    version = text(document, f"{_DATA}.VERSION")
    folders = (folder, *([folder / version] if version else []))
    for key, name in _named_files(evidence):
        if not any((base / name).exists() for base in folders):
            yield finding(
                "BEV009", f"there is no file {folders[-1] / name}", document=document, key=key
            )


def _named_files(evidence: ConfigEvidence) -> Iterator[tuple[str, Path]]:
    """Every file that the config names below DATA_PATH, with its key."""
    document = evidence.document
    infos = document.get(_INFOS)
    for mode, names in infos.items() if isinstance(infos, Mapping) else ():
        yield from _each(f"{_INFOS}.{mode}", names)
    augmentors = document.get(_AUGMENTORS)
    for index, augmentor in enumerate(augmentors if isinstance(augmentors, tuple) else ()):
        if isinstance(augmentor, Mapping):
            key = f"{_AUGMENTORS}.{index}.DB_INFO_PATH"
            yield from _each(key, augmentor.get("DB_INFO_PATH"))


def _each(key: str, names: object) -> Iterator[tuple[str, Path]]:
    for index, name in enumerate(names if isinstance(names, tuple) else ()):
        if isinstance(name, str):
            yield f"{key}.{index}", Path(name)
