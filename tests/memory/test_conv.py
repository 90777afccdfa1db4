"""Which backend a convolution gets."""

import pytest

from bevdiag.memory.conv import Backend, conv_backend
from bevdiag.memory.device import make_target
from bevdiag.memory.requests import ConvCall
from bevdiag.memory.sizes import format_size
from bevdiag.memory.workspaces import conv_workspace

OLD, NEW = (9, 1, 0), (9, 3, 0)


@pytest.fixture
def reports_conv(conv):
    return conv("forward", (1, 22400, 202, 502), 128, padding=0)


def test_the_reports_first_conv_asks_75_10_gib_of_columns(reports_conv):
    choice = conv_backend(reports_conv, OLD)
    assert choice.backend is Backend.SLOW_2D
    assert (choice.needs_64bit, choice.refused_by_cudnn) == (True, True)
    assert choice.elements == 2_271_449_600
    columns = choice.columns
    factors = (columns.channels, columns.kernel_volume, columns.positions, columns.element_bytes)
    assert factors == (22400, 9, 100_000, 4)
    assert columns.nbytes == 80_640_000_000
    assert format_size(columns.nbytes) == "75.10 GiB"


@pytest.mark.parametrize("direction", ["forward", "dgrad", "wgrad"])
@pytest.mark.parametrize("batch", [1, 4])
def test_columns_are_one_samples_in_every_direction(conv, direction, batch):
    call = conv(direction, (batch, 22400, 202, 502), 128, padding=0)
    reported = conv_workspace(call, make_target(torch="2.6.0"))
    assert reported.low == reported.expected == reported.high == 80_640_000_000
    assert not reported.is_optional


def test_cudnn_from_9_3_on_takes_64_bit_indices(reports_conv):
    choice = conv_backend(reports_conv, NEW)
    assert (choice.backend, choice.columns) == (Backend.CUDNN, None)
    assert choice.needs_64bit
    assert not choice.refused_by_cudnn


@pytest.mark.parametrize(
    ("shape", "backend"),
    [
        ((1, 21177, 202, 502), Backend.CUDNN),
        ((1, 21178, 202, 502), Backend.SLOW_2D),
        ((4, 21177, 202, 502), Backend.CUDNN),
        ((0, 22400, 202, 502), Backend.CUDNN),
    ],
)
def test_the_limit_holds_for_one_sample(conv, shape, backend):
    assert conv_backend(conv("forward", shape, 8, padding=0), OLD).backend is backend


def test_a_large_output_alone_is_enough(conv):
    call = conv("forward", (1, 16, 4000, 4000), 256)
    assert conv_backend(call, OLD).backend is Backend.SLOW_2D


def test_a_pointwise_slow_conv_has_columns_in_backward_only(conv):
    shape = (1, 22400, 200, 500)
    forward = conv_backend(conv("forward", shape, 64, kernel=1, padding=0), OLD)
    backward = conv_backend(conv("wgrad", shape, 64, kernel=1, padding=0), OLD)
    assert forward.backend is Backend.SLOW_2D
    assert forward.columns is None
    assert backward.columns.nbytes == 22400 * 100_000 * 4


def test_transposed_columns_count_output_channels_and_input_positions():
    call = ConvCall(
        direction="forward",
        input_shape=(1, 22400, 202, 502),
        weight_shape=(22400, 64, 2, 2),
        output_shape=(1, 64, 404, 1004),
        stride=(2, 2),
        padding=(0, 0),
        dilation=(1, 1),
        groups=1,
        transposed=True,
        element_bytes=4,
        dtype="float32",
    )
    choice = conv_backend(call, OLD)
    assert choice.backend is Backend.SLOW_TRANSPOSE_2D
    assert choice.columns.nbytes == 64 * 4 * (202 * 502) * 4


def test_dilation_and_three_dimensions_have_paths_of_their_own(conv):
    dilated = conv("forward", (1, 22400, 202, 502), 8, padding=2, dilation=(2, 2))
    assert conv_backend(dilated, OLD).backend is Backend.SLOW_DILATED_2D
    volume = conv("forward", (1, 64, 400, 300, 300), 8)
    assert conv_backend(volume, OLD).backend is Backend.SLOW_DILATED_3D


@pytest.mark.parametrize(
    ("version", "nbytes", "kernel", "backend"),
    [
        ((9, 7, 1), 2, 3, Backend.CUDNN),
        ((9, 8, 0), 2, 3, Backend.SLOW_DILATED_3D),
        ((9, 14, 0), 2, 3, Backend.SLOW_DILATED_3D),
        ((9, 15, 0), 2, 3, Backend.CUDNN),
        ((9, 10, 2), 4, 3, Backend.CUDNN),
        ((9, 10, 2), 2, 1, Backend.CUDNN),
    ],
)
def test_some_cudnn_versions_refuse_half_precision_conv3d(conv, version, nbytes, kernel, backend):
    call = conv("forward", (1, 8, 10, 10, 10), 8, kernel=kernel, nbytes=nbytes)
    assert conv_backend(call, version).backend is backend


def test_depthwise_goes_to_its_own_kernel_without_a_workspace(conv):
    call = conv("forward", (2, 64, 50, 50), 64, groups=64, weight_shape=(64, 1, 3, 3))
    assert conv_backend(call, NEW).backend is Backend.DEPTHWISE
    assert conv_workspace(call, make_target(torch="2.13.0")).high == 0


@pytest.mark.parametrize(
    ("fields", "backend"),
    [
        ({}, Backend.DEPTHWISE),
        ({"channels_last": True}, Backend.CUDNN),
        ({"nbytes": 2}, Backend.CUDNN),
        ({"nbytes": 2, "dtype": "bfloat16"}, Backend.DEPTHWISE),
        ({"nbytes": 2, "dilation": (2, 2)}, Backend.DEPTHWISE),
        (
            {"nbytes": 2, "kernel": 7, "padding": 3, "weight_shape": (64, 1, 7, 7)},
            Backend.DEPTHWISE,
        ),
        ({"nbytes": 2, "stride": 2}, Backend.DEPTHWISE),
    ],
)
def test_pytorch_keeps_most_depthwise_convolutions_from_cudnn(conv, fields, backend):
    call = conv(
        "forward", (2, 64, 188, 188), 64, **({"weight_shape": (64, 1, 3, 3)} | fields), groups=64
    )
    assert conv_backend(call, (9, 19, 0)).backend is backend
