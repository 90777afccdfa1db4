"""What the tests of this room build their cases from."""

from collections.abc import Callable

import pytest

from bevdiag.memory.events import Category, EventStream, Phase
from bevdiag.memory.requests import ConvCall

from ..streams import free, make, mark, stream


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


@pytest.fixture
def two_steps() -> EventStream:
    """A parameter of 40 MiB; each step adds 100 and 60 MiB; the second keeps 30 MiB of state."""
    return stream(
        make(40 * 2**20, category=Category.PARAMETER),
        mark(1),
        make(100 * 2**20, "backbone.conv"),
        mark(1, Phase.BACKWARD),
        make(60 * 2**20, "backbone.conv", category=Category.GRADIENT),
        free(1),
        mark(1, Phase.OPTIMIZER),
        make(30 * 2**20, "", category=Category.OPTIMIZER_STATE),
        free(2),
        mark(2),
        make(100 * 2**20, "backbone.conv"),
        make(20 * 2**20, "backbone.norm"),
        free(5),
        mark(2, Phase.BACKWARD),
        make(60 * 2**20, "backbone.conv", category=Category.GRADIENT),
        free(4),
        mark(2, Phase.OPTIMIZER),
        free(6),
        num_steps=2,
    )
