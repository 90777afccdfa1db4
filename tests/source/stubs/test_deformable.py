import pytest
import torch
from torch import nn

from tests.source.stubs.mmcv_calls import EXT, Held


def test_a_deformable_convolution_holds_one_samples_columns(held: Held) -> None:
    x, weight = torch.empty(2, 8, 10, 12, device="meta"), torch.empty(4, 8, 3, 3, device="meta")
    offset, mask = (torch.empty(2, n, 10, 12, device="meta") for n in (18, 9))
    output, none = torch.empty(2, 4, 10, 12, device="meta"), torch.empty(0, device="meta")
    sizes = held(
        lambda: EXT.modulated_deform_conv_forward(
            x, weight, none, none, offset, mask, output, none, kernel_h=3, kernel_w=3, stride_h=1,
            stride_w=1, pad_h=1, pad_w=1, dilation_h=1, dilation_w=1, group=1, deformable_group=1,
            with_bias=False,
        )
    )  # fmt: skip
    assert 8 * 9 * 10 * 12 * 4 in sizes


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.usefixtures("computes")
def test_a_deformable_convolution_samples_where_its_offsets_say(modulated: bool) -> None:
    random = torch.Generator().manual_seed(0)
    x, weight = (torch.rand(shape, generator=random) for shape in ((2, 4, 6, 7), (6, 2, 3, 3)))
    # One cell down and two to the left, for every tap of every group.
    offset = (
        torch.tensor([1.0, -2.0]).view(1, 1, 2, 1, 1).expand(2, 18, 2, 6, 7).reshape(2, 36, 6, 7)
    )
    moved = torch.zeros_like(x)
    moved[:, :, :5, 2:] = x[:, :, 1:, :5]
    output, none = torch.empty(2, 6, 6, 7), torch.empty(0)
    if modulated:
        EXT.modulated_deform_conv_forward(
            x, weight, torch.ones(6), none, offset, torch.full((2, 18, 6, 7), 0.5), output, none,
            kernel_h=3, kernel_w=3, stride_h=1, stride_w=1, pad_h=1, pad_w=1, dilation_h=1,
            dilation_w=1, group=2, deformable_group=2, with_bias=True,
        )  # fmt: skip
        whole = nn.functional.conv2d(moved, weight / 2, torch.ones(6), padding=1, groups=2)
    else:
        EXT.deform_conv_forward(
            x, weight, offset, output, none, none, kW=3, kH=3, dW=1, dH=1, padW=1, padH=1,
            dilationW=1, dilationH=1, group=2, deformable_group=2, im2col_step=2,
        )  # fmt: skip
        whole = nn.functional.conv2d(moved, weight, None, padding=1, groups=2)
    # At the border the window itself, which is padded, moves over the map.
    torch.testing.assert_close(output[:, :, 1:4, 3:6], whole[:, :, 1:4, 3:6])
