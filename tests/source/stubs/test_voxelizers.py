import torch

from tests.source.stubs.mmcv_calls import EXT

SIZE, BOUNDS = torch.tensor([1.0, 1.0, 2.0]), torch.tensor([0.0, 0, 0, 4, 4, 4])


def test_points_open_voxels_in_their_order_and_fill_them() -> None:
    cloud = torch.tensor([[3.5, 0.5, 3, 1], [0.5, 1.5, 0, 2], [3.6, 0.1, 2.5, 3], [9, 0, 0, 4]])
    voxels, coors = torch.zeros(5, 2, 4), torch.zeros(5, 3, dtype=torch.int32)
    counts, number = torch.zeros(5, dtype=torch.int32), torch.zeros((), dtype=torch.long)
    EXT.hard_voxelize_forward(
        cloud, SIZE, BOUNDS, voxels, coors, counts, number, max_points=2, max_voxels=5, NDim=3
    )
    assert int(number) == 2
    assert coors[:2].tolist() == [[1, 0, 3], [0, 1, 0]]
    assert counts[:2].tolist() == [2, 1]
    assert voxels[0, :, 3].tolist() == [1, 3]


def test_outside_of_the_range_a_point_has_no_cell() -> None:
    cloud = torch.tensor([[3.5, 0.5, 3], [9, 0, 0]])
    coors = torch.zeros(2, 3, dtype=torch.int32)
    EXT.dynamic_voxelize_forward(cloud, SIZE, BOUNDS, coors, NDim=3)
    assert coors.tolist() == [[1, 0, 3], [-1, -1, -1]]
