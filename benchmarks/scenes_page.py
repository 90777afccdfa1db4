"""Write docs/scenes.md: what synthetic scenes hold, beside real frames.

    python benchmarks/scenes_page.py [--frames FOLDER --source OPENPCDET]

With --frames, the frames of FOLDER are counted and the peaks on them predicted anew, and both are
kept in tests/data/scene_frames.json; a frame lies in FOLDER under the name that `FRAMES` gives it.
Without, the page is made from that file. The frames themselves are not part of this project.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from bevdiag.errors import NoVerdictError
from bevdiag.prediction.inspect import inspect
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import Prediction
from bevdiag.scenes.datasets import DATA_SETS, DataSet
from bevdiag.scenes.files import read_points
from bevdiag.scenes.point_layout import PointLayout, Points
from bevdiag.scenes.scenario import Scenario
from bevdiag.scenes.statistics import STRIDES, CellGrid, counted
from bevdiag.scenes.street import street

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "tests" / "data" / "scene_frames.json"
PAGE = ROOT / "docs" / "scenes.md"
SEEDS = 3
GIB = 2**30


VOXELS = {
    "KITTI": (0.05, 0.05, 0.1),
    "Waymo": (0.1, 0.1, 0.15),
    "nuScenes": (0.075, 0.075, 0.2),
    "ONCE": (0.1, 0.1, 0.2),
    "Lyft": (0.1, 0.1, 0.2),
    "Argoverse 2": (0.1, 0.1, 0.2),
    "PandaSet": (0.1, 0.1, 0.15),
    "View-of-Delft radar": (0.16, 0.16, 5.0),
}
"""Of OpenPCDet's configs, or of View-of-Delft's, by data set, in metres."""
GRIDS = {
    known.name: CellGrid(point_cloud_range=known.usual_range, voxel_size=VOXELS[known.name])
    for known in DATA_SETS.values()
}
MERGED = {"nuScenes": (1, 10), "Waymo": (1, 4)}
"""Sweeps or frames that configs merge, where it is not one."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A public frame: its file, where it comes from, and whether a constant was chosen by it."""

    name: str
    data_set: str
    repository: str
    columns: int | None
    seen: bool


_CUDA, _DELFT = "NVIDIA-AI-IOT/CUDA-PointPillars", "tudelft-iv/view-of-delft-dataset"
_AV2 = "argoverse/av2-api"
FRAMES = (
    *(Frame(f"kitti_{n}.bin", "KITTI", _CUDA, 4, True) for n in range(10)),
    Frame("kittizhu_000002.bin", "KITTI", "zhulf0804/PointPillars", 4, False),
    Frame("kittizhu_000134.bin", "KITTI", "zhulf0804/PointPillars", 4, False),
    Frame("nus_n015.pcd.bin", "nuScenes", "open-mmlab/mmdetection3d", 5, True),
    Frame("waymo_100.bin", "Waymo", "HaohaoNJU/CenterPoint", 5, True),
    Frame("waymo_101.bin", "Waymo", "HaohaoNJU/CenterPoint", 5, True),
    Frame("av2_315966265259836000.feather", "Argoverse 2", _AV2, None, False),
    Frame("av2_315966265360032000.feather", "Argoverse 2", _AV2, None, False),
    *(
        Frame(f"vodradar_{n}.bin", "View-of-Delft radar", _DELFT, 7, True)
        for n in ("00549", "01047", "01201")
    ),
)


@dataclass(frozen=True, slots=True)
class Peak:
    """A config's step, on real frames and on the default scene."""

    config: str
    batch_size: int
    frames: tuple[str, ...]
    overrides: tuple[str, ...] = ()


_SEEN_KITTI = tuple(f"kitti_{n}.bin" for n in range(10))
_HELD_KITTI = ("kittizhu_000002.bin", "kittizhu_000134.bin")
_WAYMO = ("waymo_100.bin", "waymo_101.bin")
_NUS = ("nus_n015.pcd.bin",)
_WITHOUT_PASTING = "DATA_CONFIG.DATA_AUGMENTOR.DISABLE_AUG_LIST=[gt_sampling]"
_ONE_SWEEP = ("DATA_CONFIG.MAX_SWEEPS=1",)
PEAKS = (
    Peak("kitti_models/second.yaml", 10, _SEEN_KITTI),
    Peak("kitti_models/second.yaml", 2, _HELD_KITTI),
    Peak("kitti_models/pointpillar.yaml", 2, _HELD_KITTI),
    Peak("waymo_models/centerpoint.yaml", 4, _WAYMO),
    Peak("waymo_models/voxelnext_ioubranch_large.yaml", 4, _WAYMO),
    Peak("waymo_models/centerpoint_dyn_pillar_1x.yaml", 2, _WAYMO),
    Peak("waymo_models/dsvt_pillar.yaml", 2, _WAYMO),
    Peak("nuscenes_models/cbgs_voxel0075_res3d_centerpoint.yaml", 4, _NUS, _ONE_SWEEP),
    Peak("nuscenes_models/cbgs_dyn_pp_centerpoint.yaml", 4, _NUS, _ONE_SWEEP),
    Peak("nuscenes_models/cbgs_voxel0075_voxelnext.yaml", 2, _NUS, _ONE_SWEEP),
    Peak(
        "argo2_models/cbgs_voxel01_voxelnext.yaml",
        2,
        ("av2_315966265259836000.feather", "av2_315966265360032000.feather"),
    ),
    Peak("waymo_models/second.yaml", 2, _WAYMO),
    Peak("kitti_models/voxel_rcnn_car.yaml", 2, _HELD_KITTI),
    Peak("kitti_models/pv_rcnn.yaml", 2, _HELD_KITTI),
)


def main() -> None:
    """Measure, where frames are given, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=Path)
    parser.add_argument("--source", type=Path)
    given = parser.parse_args()
    if given.frames is not None:
        kept: dict[str, Any] = {"frames": [_counted(frame, given.frames) for frame in FRAMES]}
        kept["peaks"] = []
        for row in PEAKS:
            kept["peaks"].append(_peak(row, given.frames, given.source))
            KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(json.loads(KEPT.read_text(encoding="utf-8"))), encoding="utf-8")


def _counted(frame: Frame, folder: Path) -> dict[str, Any]:
    path, grid = folder / frame.name, GRIDS[frame.data_set]
    layout = PointLayout(
        features=("x", "y", "z"), point_cloud_range=grid.point_cloud_range, columns=frame.columns
    )
    points, _ = read_points(path, layout)
    return {
        **asdict(frame),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        **asdict(counted(points, grid)),
    }


def _peak(row: Peak, folder: Path, source: Path) -> dict[str, Any]:
    columns = {frame.name: frame.columns for frame in FRAMES}
    default = InspectOptions(
        device="meta", batch_size=row.batch_size, overrides=row.overrides, remedies=False
    )
    given = replace(
        default,
        points=tuple(str(folder / name) for name in row.frames),
        point_columns=columns[row.frames[0]],
    )
    real, expected = (_predicted(row.config, source, options) for options in (given, default))
    without = replace(default, overrides=(*row.overrides, _WITHOUT_PASTING))
    bare = None if expected.bev_channels is None else _predicted(row.config, source, without)
    found = {
        **asdict(row),
        "seen": all(frame.seen for frame in FRAMES if frame.name in row.frames),
        "real_bytes": real.peak.allocated_bytes,
        "default_bytes": expected.peak.allocated_bytes,
        "low_bytes": expected.peak.low_bytes,
        "high_bytes": expected.peak.high_bytes,
        "bare_bytes": None if bare is None else bare.peak.allocated_bytes,
    }
    print(json.dumps(found), flush=True)
    return found


def _predicted(config: str, source: Path, options: InspectOptions) -> Prediction:
    path = source / "tools" / "cfgs" / config
    try:
        found = inspect(path, options, lambda _what, _share: None)
    except NoVerdictError:  # modules that are not built in
        options = replace(options, source=str(source), in_file_order=False)
        found = inspect(path, options, lambda _what, _share: None)
    assert isinstance(found, Prediction), config
    return found


def page(kept: dict[str, Any]) -> str:
    """Return the page as Markdown."""
    return "\n".join([HEAD, *_scene_rows(), FRAME_HEAD, *_frame_rows(kept), PEAK_HEAD,
                      *_peak_rows(kept), _sources(), ""])  # fmt: skip


def _cloud(data_set: DataSet, merged: int, scenario: Scenario, seed: int) -> Points:
    bounds = GRIDS[data_set.name].point_cloud_range
    return street(data_set, merged, bounds, 3, seed, scenario)


def _scene_rows() -> Iterator[str]:
    for data_set in sorted(DATA_SETS.values(), key=lambda known: known.name.lower()):
        grid = GRIDS[data_set.name]
        for merged in MERGED.get(data_set.name, (1,)):
            cells = [" x ".join(f"{edge:g}" for edge in grid.voxel_size)]
            by_scenario = [
                [counted(_cloud(data_set, merged, s, seed), grid) for seed in range(SEEDS)]
                for s in Scenario
            ]
            cells.append(_three([median(f.points for f in frames) for frames in by_scenario]))
            cells += [
                _three([median(f.cells[i] for f in frames) for frames in by_scenario])
                for i, stride in enumerate(STRIDES)
                if stride <= 8
            ]
            name = data_set.name + (f", {merged} merged" if merged > 1 else "")
            yield f"| {name} | {' | '.join(cells)} |"


def _three(values: list[float]) -> str:
    low, expected, high = (_short(value) for value in values)
    return f"{low} / **{expected}** / {high}"


def _short(value: float) -> str:
    return f"{value / 1000:.1f}k" if value >= 10_000 else f"{value:,.0f}"


def _frame_rows(kept: dict[str, Any]) -> Iterator[str]:
    groups: dict[tuple[str, str, bool], list[dict[str, Any]]] = {}
    for frame in kept["frames"]:
        key = frame["data_set"], frame["repository"], frame["seen"]
        groups.setdefault(key, []).append(frame)
    for (name, repository, seen), frames in groups.items():
        made = counted(_cloud(DATA_SETS[name], 1, Scenario.EXPECTED, 0), GRIDS[name])
        cells = [f"{median(f['points'] for f in frames):,.0f}"]
        for i, stride in enumerate(STRIDES):
            if stride <= 8:
                real = median(f["cells"][i] for f in frames)
                cells.append(f"{_short(real)} ({made.cells[i] / real - 1:+.0%})")
        use = "seen" if seen else "**held back**"
        yield f"| {name} | {repository} | {len(frames)} | {use} | {' | '.join(cells)} |"


def _peak_rows(kept: dict[str, Any]) -> Iterator[str]:
    for row in kept["peaks"]:
        real, default, bare = row["real_bytes"], row["default_bytes"], row["bare_bytes"]
        inside = row["low_bytes"] <= real <= row["high_bytes"]
        sets = "".join(f" `{text}`" for text in row["overrides"])
        use = "seen" if row["seen"] else "**held back**"
        yield (
            f"| {row['config']}{sets} | {row['batch_size']} | {len(row['frames'])}, {use} | "
            f"{real / GIB:.2f} | {default / GIB:.2f} | {default / real - 1:+.1%} | "
            f"{f'{bare / real - 1:+.1%}' if bare else '-'} | "
            f"{row['low_bytes'] / GIB:.2f} to {row['high_bytes'] / GIB:.2f} | "
            f"{'yes' if inside else '**no**'} |"
        )


def _sources() -> str:
    lines = [f"- {known.name}: {known.source}." for known in DATA_SETS.values()]
    return "\n".join(["\n## Sources of the sensors\n", *lines])


HEAD = """# Scenes

Written by `benchmarks/scenes_page.py`; do not edit by hand.

Without `--points` a step is traced on synthetic scenes of the config's data set: a sparse, a common
and a dense frame, which are the low end, the headline and the high end of the prediction. A data
set is known by its name or its features, else by its range; the report says what it was taken for.
Into the common and the dense frame go the objects that the config's gt_sampling pastes.
`bevdiag scene measure FOLDER -o my_scene.json` counts your own frames, and `--scene my_scene.json`
makes scenes of these counts.

## What a synthetic scene holds

A sample before any cap, in the range of OpenPCDet's config: points in range, and occupied voxels at
strides 1, 2, 4 and 8; sparse / **common** / dense frame, the median of three seeds.

| data set | voxel (m) | points | stride 1 | 2 | 4 | 8 |
|---|---|---|---|---|---|---|"""

FRAME_HEAD = """
A sonar's ping has 20,000 (sparse) or 40,000 (common and dense) echoes, a room
50,000, 100,000 or 200,000 points: a floor, walls and furniture in 8 x 8 x 3 m, chosen.

## Real frames

Medians of public frames, and how far the common synthetic scene is off. Constants of the synthetic
street were chosen beside the frames that say "seen"; those "held back" chose none. So few frames
are orders of size, no statistics.

| data set | from | frames | | points | stride 1 | 2 | 4 | 8 |
|---|---|---|---|---|---|---|---|---|"""

PEAK_HEAD = """
## The default scene against real frames

Predicted peaks in GiB, both by this version: what remains of the difference is the scene's. A batch
takes the frames in turn. Training also pastes objects into frames (gt_sampling), which the default
scene has and the real frames lack; without them it is off by the second figure (- where that was
not tried).

| config | batch | frames | real frames | default | off by | without pasting | interval | inside |
|---|---|---|---|---|---|---|---|---|"""


if __name__ == "__main__":
    main()
