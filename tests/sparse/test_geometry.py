import pytest
import torch

from bevdiag.sparse.geometry import Geometry


def _geometry(kernel: int, stride: int, padding: int, dilation: int = 1, **changes) -> Geometry:
    extra = changes.pop("output_padding", 0)
    return Geometry((kernel,), (stride,), (padding,), (dilation,), (extra,), **changes)


@pytest.mark.parametrize("window", [(3, 2, 1, 1), (3, 1, 0, 2), (2, 2, 0, 1), (5, 3, 2, 1)])
def test_output_shape_is_that_of_a_dense_conv(window: tuple[int, int, int, int]) -> None:
    kernel, stride, padding, dilation = window
    for size in range(9, 20):
        dense = torch.nn.Conv1d(1, 1, kernel, stride, padding, dilation)(torch.zeros(1, 1, size))

        assert _geometry(*window).output_shape([size]) == [dense.shape[-1]]


@pytest.mark.parametrize("window", [(3, 2, 1, 0), (2, 2, 0, 0), (3, 2, 1, 1)])
def test_transposed_output_shape(window: tuple[int, int, int, int]) -> None:
    kernel, stride, padding, extra = window
    geometry = _geometry(kernel, stride, padding, transposed=True, output_padding=extra)
    dense = torch.nn.ConvTranspose1d(1, 1, kernel, stride, padding, extra)(torch.zeros(1, 1, 7))

    assert geometry.output_shape([7]) == [dense.shape[-1]]


def test_a_submanifold_layer_keeps_the_grid() -> None:
    assert _geometry(3, 2, 0, subm=True).output_shape([7]) == [7]


def test_a_grid_that_shrinks_to_nothing_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"\[0\] reaches zero: input shape \[2\], kernel_size \[3\]"
    ):
        _geometry(3, 1, 0).output_shape([2])


def test_a_submanifold_window_needs_a_centre() -> None:
    with pytest.raises(ValueError, match=r"odd kernel sizes, found \[2\]"):
        _geometry(2, 1, 0, subm=True)


def test_the_bound_on_outputs_counts_steps_of_the_window() -> None:
    assert _geometry(3, 2, 1).most_outputs(10) == 20
    assert _geometry(2, 2, 0).most_outputs(10) == 10
    assert _geometry(3, 1, 1).most_outputs(10) == 30
    assert _geometry(3, 2, 1, transposed=True).most_outputs(10) == 30
