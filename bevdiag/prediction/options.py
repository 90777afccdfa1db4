"""What is asked of a prediction; light, as the command line imports it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bevdiag.memory.loop import PLAIN, Loop

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of the work that is done, 0 to 1. What stands before
a colon names the phase."""

KNOBS = {
    "batch": "samples a step",
    "max-voxels": "voxels a sample",
    "points-per-voxel": "point slots a voxel",
}
"""What can be turned, and its unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectOptions:
    """What the user asked for, as the command line understood it. None means "the config's own".

    `profile` is the file of a device profile or "none" for rules alone; without it the shipped one
    is used, where there is one.
    `scene` is a file of `bevdiag scene measure`, whose counts a synthetic scene is to have.
    `batch` is what the user's own loader made, which a repository's model gets, or its file.
    `entry` is the function ("FILE.py:function") that gives model, batch and loss.
    `point_columns` and `point_dtype` say how .bin files are read; `in_file_order` keeps points
    in their order where the config shuffles them or a repository's own data pipeline would make
    the batch of them, as a measured row of these files did.
    `process_bytes` is what the process may take in all, `budget_bytes` what its allocator may
    reserve; `origin` says where GPU and budget come from.
    `loop` is what the training script does around the step. `replaced` says what stands for a
    package's operators in it, see `bevdiag.models.scatter`.
    `remedies` None searches for plans where the step may not fit.
    `device` is "auto", "meta" or "cuda". `pins` maps a site to its count. `source` is the folder
    of a repository whose own code builds the model, `data_root` the one that the config's data
    paths start from. `timeout_seconds` is how long a child process may say nothing; `rehearses`
    says whether values that decide are computed on the CPU. `blocks` asks
    for every block of the step, which a timeline is drawn from, `snapshot` for the allocator's
    history of the whole run, `evaluation` for the evaluation step beside the training step, where
    a repository's own code is run.
    """

    device: str = "auto"
    points: tuple[str, ...] = ()
    scene: str | None = None
    batch: str | Mapping[str, Any] | None = None
    point_columns: int | None = None
    point_dtype: str | None = None
    in_file_order: bool = False
    batch_size: int | None = None
    autocast: str | None = None
    optimizer: str | None = None
    gpu: str | None = None
    budget_bytes: int | None = None
    process_bytes: int | None = None
    origin: str = ""
    torch: str | None = None
    cudnn: str | None = None
    profile: str | None = None
    cudnn_benchmark: bool = False
    compression: str | None = None
    overrides: tuple[str, ...] = ()
    pins: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    loop: Loop = PLAIN
    replaced: dict[str, str] = field(default_factory=dict)
    remedies: bool | None = None
    source: str | None = None
    entry: str | None = None
    data_root: str | None = None
    timeout_seconds: float | None = None
    rehearses: bool = True
    blocks: bool = False
    snapshot: bool = False
    evaluation: bool = False

    @property
    def data_folder(self) -> Path | None:
        """The folder that the config's relative data paths start from, if the user named it."""
        return None if self.data_root is None else Path(self.data_root)
