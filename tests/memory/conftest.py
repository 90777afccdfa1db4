"""What the tests of this room build their cases from."""

from collections.abc import Callable

import pytest

from bevdiag.memory.requests import ConvCall


@pytest.fixture(scope="session")
def conv() -> Callable[..., ConvCall]:
    """Makes a convolution with a square kernel; keywords replace single fields."""
    return _conv


def _conv(direction, inputs, out_channels, *, kernel=3, stride=1, padding=1, nbytes=4, **fields):
    batch, channels, *space = inputs
    ndim = len(space)
    values = {
        "direction": direction,
        "input_shape": tuple(inputs),
        "weight_shape": (out_channels, channels, *(kernel,) * ndim),
        "output_shape": (
            batch,
            out_channels,
            *((size + 2 * padding - kernel) // stride + 1 for size in space),
        ),
        "stride": (stride,) * ndim,
        "padding": (padding,) * ndim,
        "dilation": (1,) * ndim,
        "groups": 1,
        "transposed": False,
        "element_bytes": nbytes,
        "dtype": "float32" if nbytes == 4 else "float16",
    }
    return ConvCall(**(values | fields))
