import itertools
import time

import numpy as np
import pytest
import torch

from bevdiag.sparse.coordinates import Geometry, matching_pairs, output_coordinates


def _geometry(**changes) -> Geometry:
    window = {
        "kernel_size": (3, 3, 3),
        "stride": (2, 2, 2),
        "padding": (1, 1, 1),
        "dilation": (1, 1, 1),
        "output_padding": (0, 0, 0),
    }
    return Geometry(**(window | changes))


def _cells(num: int, shape: tuple[int, ...], batch_size: int = 2) -> np.ndarray:
    rng = np.random.default_rng(1)
    columns = [rng.integers(0, size, num) for size in (batch_size, *shape)]
    return np.unique(np.stack(columns, axis=1), axis=0).astype(np.int32)


def _reached_one_by_one(
    cells: np.ndarray, shape: tuple[int, ...], geometry: Geometry
) -> set[tuple[int, ...]]:
    out_shape = geometry.output_shape(shape)
    reached = set()
    for sample, *cell in cells.tolist():
        for offset in itertools.product(*map(range, geometry.kernel_size)):
            target = []
            for axis, (x, k) in enumerate(zip(cell, offset, strict=True)):
                place = x + geometry.padding[axis] - k * geometry.dilation[axis]
                if place % geometry.stride[axis]:
                    break
                target.append(place // geometry.stride[axis])
            inside = all(0 <= o < n for o, n in zip(target, out_shape, strict=False))
            if len(target) == len(cell) and inside:
                reached.add((sample, *target))
    return reached


@pytest.mark.parametrize(
    "geometry",
    [
        _geometry(),
        _geometry(stride=(1, 1, 1)),
        _geometry(padding=(0, 1, 1)),
        _geometry(kernel_size=(3, 1, 2), stride=(2, 1, 3), padding=(0, 0, 1)),
        _geometry(dilation=(2, 1, 2), padding=(2, 1, 0)),
        _geometry(kernel_size=(1, 1, 1), padding=(0, 0, 0)),
    ],
)
def test_outputs_are_the_cells_reached_one_by_one(geometry: Geometry) -> None:
    shape = (7, 9, 8)
    cells = _cells(60, shape)

    outputs = output_coordinates(cells, shape, geometry)

    assert outputs.dtype == np.int32
    assert len(np.unique(outputs, axis=0)) == len(outputs)
    assert set(map(tuple, outputs.tolist())) == _reached_one_by_one(cells, shape, geometry)


def test_outputs_keep_two_axes_and_samples_apart() -> None:
    window = {"kernel_size": (3, 3), "stride": (2, 2), "padding": (1, 1)}
    geometry = _geometry(**window, dilation=(1, 1), output_padding=(0, 0))
    cells = np.array([[0, 4, 4], [5, 4, 4]], np.int32)

    assert output_coordinates(cells, (9, 9), geometry).tolist() == [[0, 2, 2], [5, 2, 2]]


def test_grids_beyond_32_bits_are_exact() -> None:
    shape = (2809, 16000, 40000)
    cells = np.array([[7, 2808, 15999, 39999], [7, 0, 0, 0]], np.int32)
    geometry = _geometry(kernel_size=(1, 1, 1), padding=(0, 0, 0), stride=(1, 1, 1))

    outputs = output_coordinates(cells, shape, geometry)

    assert outputs.tolist() == [[7, 0, 0, 0], [7, 2808, 15999, 39999]]


def test_pairs_meet_under_their_offset() -> None:
    shape, geometry = (7, 9, 8), _geometry()
    cells = _cells(60, shape)
    outputs = output_coordinates(cells, shape, geometry)[::-1].copy()

    pairs = matching_pairs(cells, outputs, shape, geometry)

    assert len(pairs) == 27
    for offset, (ins, outs) in zip(geometry.offsets(), pairs, strict=True):
        np.testing.assert_array_equal(cells[ins, 0], outputs[outs, 0])
        np.testing.assert_array_equal(cells[ins, 1:], outputs[outs, 1:] * 2 - 1 + np.array(offset))
    assert set(np.concatenate([outs for _, outs in pairs])) == set(range(len(outputs)))


def test_submanifold_pairs_are_centred() -> None:
    cells = np.array([[0, 3, 3, 3], [0, 3, 3, 4], [1, 3, 3, 3]], np.int32)

    pairs = matching_pairs(cells, cells, (8, 8, 8), _geometry(subm=True))

    centre, right = pairs[13], pairs[14]
    assert centre[0].tolist() == centre[1].tolist() == [0, 1, 2]
    assert (right[0].tolist(), right[1].tolist()) == ([1], [0])


def test_a_cell_outside_the_grid_is_refused() -> None:
    with pytest.raises(ValueError, match=r"axis 2 run from 8 to 8.*ends at 7"):
        output_coordinates(np.array([[0, 0, 0, 8]], np.int32), (8, 8, 8), _geometry())


def test_a_sample_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="of samples -1 to -1, but no sample is below 0"):
        output_coordinates(np.array([[-1, 0, 0, 0]], np.int32), (8, 8, 8), _geometry())


def test_no_cells_reach_none() -> None:
    outputs = output_coordinates(np.zeros((0, 4), np.int32), (8, 8, 8), _geometry())

    assert outputs.shape == (0, 4)


def test_a_large_scene_takes_little_time() -> None:
    cells = _cells(150_000, (41, 1504, 1504))

    start = time.process_time()
    outputs = output_coordinates(cells, (41, 1504, 1504), _geometry())

    assert time.process_time() - start < 1.0
    assert len(outputs) > len(cells)


def _on_one_axis(kernel: int, stride: int, padding: int, dilation: int = 1, **changes) -> Geometry:
    extra = changes.pop("output_padding", 0)
    return Geometry((kernel,), (stride,), (padding,), (dilation,), (extra,), **changes)


@pytest.mark.parametrize("window", [(3, 2, 1, 1), (3, 1, 0, 2), (2, 2, 0, 1), (5, 3, 2, 1)])
def test_output_shape_is_that_of_a_dense_conv(window: tuple[int, int, int, int]) -> None:
    kernel, stride, padding, dilation = window
    for size in range(9, 20):
        dense = torch.nn.Conv1d(1, 1, kernel, stride, padding, dilation)(torch.zeros(1, 1, size))

        assert _on_one_axis(*window).output_shape([size]) == [dense.shape[-1]]


@pytest.mark.parametrize("window", [(3, 2, 1, 0), (2, 2, 0, 0), (3, 2, 1, 1)])
def test_transposed_output_shape(window: tuple[int, int, int, int]) -> None:
    kernel, stride, padding, extra = window
    geometry = _on_one_axis(kernel, stride, padding, transposed=True, output_padding=extra)
    dense = torch.nn.ConvTranspose1d(1, 1, kernel, stride, padding, extra)(torch.zeros(1, 1, 7))

    assert geometry.output_shape([7]) == [dense.shape[-1]]


def test_a_submanifold_layer_keeps_the_grid() -> None:
    assert _on_one_axis(3, 2, 0, subm=True).output_shape([7]) == [7]


def test_a_grid_that_shrinks_to_nothing_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"\[0\] reaches zero: input shape \[2\], kernel_size \[3\]"
    ):
        _on_one_axis(3, 1, 0).output_shape([2])


def test_a_submanifold_window_needs_a_centre() -> None:
    with pytest.raises(ValueError, match=r"odd kernel sizes, found \[2\]"):
        _on_one_axis(2, 1, 0, subm=True)


def test_the_bound_on_outputs_counts_steps_of_the_window() -> None:
    assert _on_one_axis(3, 2, 1).most_outputs(10) == 20
    assert _on_one_axis(2, 2, 0).most_outputs(10) == 10
    assert _on_one_axis(3, 1, 1).most_outputs(10) == 30
    assert _on_one_axis(3, 2, 1, transposed=True).most_outputs(10) == 30
