"""Measured rows from a file, and the scenes that they were measured with.

A rows file maps names to rows. Two kinds are understood: those of OpenPCDet's configs ("config",
"batch_size", "points_per_sample", "autocast", and where they are not the usual ones "torch",
"cudnn", "mode", "world_size", "accumulate", "scaler" and "step") and those of the focal detector
("bev_reads", "height_compression"). Their point clouds are made by the script `scenes.py` that lies
beside the rows; running it executes it, and nothing else can give the same clouds.

"replaced" says by package what stood for its operators when the row was measured, e.g.
{"torch_scatter": "scatter_reduce"}; the row is predicted with the same in their place. A package
that it does not name ran with its own kernels, or with others of the same memory.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bevdiag.accuracy.clouds import Clouds, Stored, ray_clouds, synthetic_clouds
from bevdiag.accuracy.outcome import MeasuredOn, MeasuredRow
from bevdiag.errors import InputError
from bevdiag.files.bounds import check_json
from bevdiag.files.reading import read_file
from bevdiag.files.shipped import shipped_file
from bevdiag.memory.device import cudnn_of_number
from bevdiag.memory.loop import Loop
from bevdiag.models.scatter import REPLACEMENTS
from bevdiag.trace.kept_voxels import SITE

MAX_BYTES = 2**24
FOCAL_CONFIG = Path("focalsst/cfgs/sonar_models/focal_sst.yaml")
OPENPCDET_CONFIGS = Path("openpcdet/cfgs")
_LAST_CUDNN_WITHOUT_64BIT = "9.2"


def read_rows(file: Path, configs: Path | None) -> list[MeasuredRow]:
    """Read the rows of a file that ended with a peak; runs that were stopped are left out.

    Args:
        file: JSON, see the module's docstring.
        configs: the folder of the configs that rows name; by default looked for beside the
            file's own folder.

    Raises:
        InputError: the file cannot be read or is no such file.
    """
    try:
        data = read_file(file, MAX_BYTES, instead="these are no rows")
    except InputError as error:
        raise InputError(f"--rows {error}") from error
    try:
        check_json(data)
        content = json.loads(data)
    except InputError as error:
        raise InputError(f"--rows {file}: {error}") from error
    except (RecursionError, ValueError) as error:
        raise InputError(f"--rows {file}: is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"--rows {file}: expected a mapping of names to rows")
    try:
        return [
            _row(name, row, file.parent.parent, configs)
            for name, row in content.items()
            if "peak_allocated_bytes" in row
        ]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"--rows {file}: a row lacks {error}") from error


def _row(name: str, row: dict[str, Any], root: Path, configs: Path | None) -> MeasuredRow:
    is_focal = "bev_reads" in row
    if is_focal:
        config = configs or root / FOCAL_CONFIG
    else:
        config = (configs or root / OPENPCDET_CONFIGS) / row["config"]
    first = None if "kept_voxels" in row else row.get("first_step_peak_allocated_bytes")
    return MeasuredRow(
        name=name,
        config=config,
        scene="sonar" if is_focal else "lidar",
        points_per_sample=row["points_per_sample"],
        batch_size=row["batch_size"],
        autocast=row["autocast"],
        compression=row["height_compression"] if is_focal else None,
        overrides=_focal_overrides(row) if is_focal else (),
        pins=_focal_pins(row) if is_focal else {},
        first_step_bytes=first,
        cudnn=_cudnn(row),
        torch=_torch(row),
        loop=_loop(row),
        replaced=replacements(row.get("replaced", {})),
        params=row["params"],
        peak_allocated_bytes=row["peak_allocated_bytes"],
        max_reserved_bytes=row["max_reserved_bytes"],
        fork=str(row.get("fork", "")),
    )


def replacements(named: Mapping[str, str]) -> dict[str, str]:
    """Check what stood for packages' operators, by package.

    Raises:
        InputError: it is none that a step can be predicted with.
    """
    for package, by in named.items():
        if by not in REPLACEMENTS.get(package, ()):
            known = ", ".join(f"{p}={b}" for p, choices in REPLACEMENTS.items() for b in choices)
            raise InputError(f"replaced {package}={by}: no step is predicted with it; {known} is")
    return dict(named)


def _cudnn(row: dict[str, Any]) -> str | None:
    """Return the row's own cuDNN, None where it is that of most rows."""
    if not row.get("cudnn_64bit_indexing", True):
        return _LAST_CUDNN_WITHOUT_64BIT
    if "cudnn" not in row or _torch(row) is None:
        return None
    return ".".join(map(str, cudnn_of_number(int(row["cudnn"]))))


def _torch(row: dict[str, Any]) -> str | None:
    torch: str = row.get("torch", MeasuredOn().torch).partition("+")[0]
    return None if torch == MeasuredOn().torch else torch


def _loop(row: dict[str, Any]) -> Loop:
    """`mode` is that of DistributedDataParallel: {"ddp": true, "kw": {its arguments}}."""
    mode = row.get("mode", {})
    arguments = mode.get("kw", {})
    return Loop(
        gpus=row.get("world_size", 1) if mode.get("ddp", False) else 1,
        bucket_view=arguments.get("gradient_as_bucket_view", False),
        finds_unused=arguments.get("find_unused_parameters", False),
        accumulate=row.get("accumulate", 1),
        scaler=row.get("scaler", False),
        evaluates=row.get("step", "train") == "eval",
    )


def _focal_overrides(row: dict[str, Any]) -> tuple[str, ...]:
    voxelizer = "DATA_CONFIG.DATA_PROCESSOR.transform_points_to_voxels"
    keys = {
        "bev_reads": "MODEL.MAP_TO_BEV.INPUT",
        "max_points_per_voxel": f"{voxelizer}.MAX_POINTS_PER_VOXEL",
        "max_voxels": f"{voxelizer}.MAX_NUMBER_OF_VOXELS.train",
    }
    return tuple(f"{key}={row[said]}" for said, key in keys.items() if said in row)


def _focal_pins(row: dict[str, Any]) -> dict[str, int]:
    """Every step's counts where the row has them by `SITE@STEP`, else the first step's."""
    if "kept_voxels" in row:
        return dict(row["kept_voxels"])
    kept = [layer["num_out"] for layer in row["sparse_layers"] if "conv_focal" in layer["name"]]
    return {SITE: kept[0]}


_MEASURED = Path(__file__).parent / "measured"
_SHIPPED_MODEL = "focalsst_dsvt_h200.json"
_ORIGINALS = "originals_h200.json"
_FORKS = "forks_h200.json"
_OTHERS = ("stacks_h200.json", "ddp_h200.json", "loops_h200.json")
"""Rows of older stacks and of loops, which were measured with other clouds."""
_SONAR = "sonar0.npz"


def shipped_rows(configs: Path | None) -> list[tuple[MeasuredRow, Clouds]]:
    """Every row that comes with bevdiag, with what makes its clouds.

    Those of the shipped model are predicted anywhere. The others name configs that bevdiag does not
    carry: OpenPCDet's with the plain step on the newest stack, two older stacks, and what training
    loops do around the step; those of its forks with the plain step, each with the fork's own code.

    Args:
        configs: the folder of a checkout's configs; without it their rows have no config.
    """
    files: list[tuple[str, Path | None, Clouds]] = [
        (_SHIPPED_MODEL, shipped_file("configs/focalsst_dsvt.yaml"), Stored(_MEASURED / _SONAR)),
        (_ORIGINALS, configs, synthetic_clouds),
        (_FORKS, configs, synthetic_clouds),
        *((name, configs, ray_clouds) for name in _OTHERS),
    ]
    return [
        (row if known else replace(row, config=None), clouds)
        for name, known, clouds in files
        for row in read_rows(_MEASURED / name, known)
    ]
