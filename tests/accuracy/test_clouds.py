"""Scripts that write a row's clouds, or do not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bevdiag.accuracy import clouds
from bevdiag.accuracy.clouds import CloudOrder, Scripted, ray_clouds
from bevdiag.accuracy.outcome import MeasuredRow
from bevdiag.accuracy.rows import shipped_rows
from bevdiag.errors import InputError
from bevdiag.scenes.batch import voxelize


def order(folder: Path) -> CloudOrder:
    row = MeasuredRow(
        name="one",
        config=None,
        scene="lidar",
        points_per_sample=10,
        batch_size=1,
        autocast="off",
        compression=None,
        overrides=(),
        pins={},
        first_step_bytes=None,
        cudnn=None,
        params=1,
        peak_allocated_bytes=1,
        max_reserved_bytes=1,
    )
    return CloudOrder(row, folder, (0.0, 0.0, 0.0, 1.0, 1.0, 1.0), 4)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; sys.exit('no such scene')", "failed: no such scene"),
        ("import os; os.kill(os.getpid(), 11)", "failed: died of SIGSEGV"),
        ("import os; os._exit(4)", "failed: ended with exit code 4"),
        ("import time; time.sleep(60)", r"did not end within 0\.5 s"),
    ],
)
def test_a_script_that_fails_is_one_sentence(
    program: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "sleep" in program:
        monkeypatch.setattr(clouds, "SCRIPT_SECONDS", 0.5)
    script = tmp_path / "scenes.py"
    script.write_text(program, encoding="utf-8")
    with pytest.raises(InputError, match=rf"scenes\.py {said}$"):
        Scripted(script)(order(tmp_path))


def test_a_missing_script(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="which is missing"):
        Scripted(tmp_path / "scenes.py")(order(tmp_path))


def test_a_script_is_reported_what_to_write(tmp_path: Path) -> None:
    script = tmp_path / "scenes.py"
    script.write_text("import sys; open(sys.argv[2] + 'told', 'w').write(' '.join(sys.argv[3:]))")
    Scripted(script)(order(tmp_path))
    assert (tmp_path / "onetold").read_text() == (
        "--pcr 0.0 0.0 0.0 1.0 1.0 1.0 --features 4 --points 10 --batch 1"
    )


def test_they_give_as_many_voxels_as_were_measured(tmp_path: Path) -> None:
    rows = {row.name: row for row, _ in shipped_rows(Path("cfgs"))}
    row = replace(rows["kitti_models.pointpillar_b4_ddp"], name="row")
    bounds = (0.0, -39.68, -3.0, 69.12, 39.68, 1.0)
    order = CloudOrder(row, tmp_path, bounds, 4)
    ray_clouds(order)
    clouds = [np.load(file) for file in order.files]
    assert [cloud.shape for cloud in clouds] == [(20_000, 4)] * 4
    size, grid = (0.16, 0.16, 4.0), (432, 496, 1)
    counts = [len(voxelize(c, bounds, size, grid, 32, 16_000).coords) for c in clouds]
    assert sum(counts) == 27_799
