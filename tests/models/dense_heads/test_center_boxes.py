"""CenterPoint's losses."""

import torch

from bevdiag.models.dense_heads.center_boxes import gather_cells, heatmap_loss, regression_loss


def test_the_heat_map_loss_rewards_the_right_peak():
    target = torch.zeros(1, 1, 4, 4)
    target[0, 0, 1, 2] = 1
    right = torch.where(target == 1, 0.9, 0.1)
    wrong = torch.where(target == 1, 0.1, 0.9)
    good, bad = (heatmap_loss(p, target, has_centres=True) for p in (right, wrong))
    assert 0 < good < bad


def test_without_centres_only_the_background_counts():
    target, predicted = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.5)
    expected = -16 * torch.log(torch.tensor(0.5)) * 0.25
    assert torch.isclose(heatmap_loss(predicted, target, has_centres=False), expected)


def test_the_regression_loss_averages_over_objects_and_does_not_hide_nan():
    output = torch.arange(32.0).view(1, 2, 4, 4)
    cells, mask = torch.tensor([[5, 9, 0]]), torch.tensor([[1, 1, 0]])
    target = gather_cells(output, cells) + torch.tensor([[[1.0, 2.0], [3.0, torch.nan], [9, 9]]])
    loss = regression_loss(output, mask, cells, target)
    assert torch.isnan(loss[1])
    assert loss[0] == 2


def test_gathering_reads_cell_by_cell():
    maps = torch.arange(24.0).view(1, 2, 3, 4)
    assert gather_cells(maps, torch.tensor([[0, 7]])).tolist() == [[[0, 12], [7, 19]]]
