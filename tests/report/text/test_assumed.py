from bevdiag.prediction.result import Scene
from bevdiag.report.text.assumed import scene_entries, scene_words


def _scene(num_voxels: int, grid_size: tuple[int, int, int] | None) -> Scene:
    return Scene(
        source="synthetic",
        batch_size=2,
        num_points=1234,
        num_voxels=num_voxels,
        grid_size=grid_size,
    )


def test_voxels_stand_in_their_grid() -> None:
    scene = _scene(99, (4, 5, 6))
    said = "99 from 1,234 points, in a grid of 4 x 5 x 6 (x, y, z)"
    assert scene_entries(scene)[1] == ("Voxels", said)
    assert scene_words(scene) == "synthetic: 99 voxels from 1,234 points"


def test_a_model_of_points_has_neither_voxels_nor_a_grid() -> None:
    assert scene_entries(_scene(0, None))[1] == ("Points", "1,234 points")
    assert scene_words(_scene(0, None)) == "synthetic: 1,234 points"
