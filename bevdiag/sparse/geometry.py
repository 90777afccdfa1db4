"""The shape of a sparse convolution: its window, and the grid that comes out of it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True, slots=True)
class Geometry:
    """A convolution's window; every tuple has an entry an axis, in the order of the coordinates.

    A submanifold convolution (`subm`) keeps its input's coordinates: it ignores stride and padding
    and centres the window.

    Raises:
        ValueError: a submanifold window has an even edge, and so no centre.
    """

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]
    subm: bool = False
    transposed: bool = False

    def __post_init__(self) -> None:
        if self.subm and not all(size % 2 for size in self.kernel_size):
            raise ValueError(
                f"a submanifold convolution needs odd kernel sizes, found {list(self.kernel_size)}"
            )

    @property
    def kernel_volume(self) -> int:
        """Offsets in the window."""
        return math.prod(self.kernel_size)

    def offsets(self) -> Iterator[tuple[int, ...]]:
        """Every offset of the window, in the order of the weight's kernel axes."""
        return product(*map(range, self.kernel_size))

    def output_shape(self, spatial_shape: Sequence[int]) -> list[int]:
        """Return the grid that comes out of a grid.

        Raises:
            ValueError: an axis shrinks to nothing.
        """
        if self.subm:
            return list(spatial_shape)
        window = (self.kernel_size, self.stride, self.padding, self.dilation, self.output_padding)
        axes = zip(spatial_shape, *window, strict=True)
        if self.transposed:
            # spconv leaves the dilation out here, unlike torch.nn.ConvTranspose3d.
            shape = [(n - 1) * s - 2 * p + k + extra for n, k, s, p, _, extra in axes]
        else:
            shape = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d, _ in axes]
        if min(shape) <= 0:
            raise ValueError(
                f"the out spatial shape {shape} reaches zero: input shape {list(spatial_shape)}, "
                f"{self.describe()}"
            )
        return shape

    def most_outputs(self, num_in: int) -> int:
        """Return a bound on the output coordinates, by which spconv sizes its hash table."""
        if self.transposed:
            return num_in * self.kernel_volume
        steps = zip(self.kernel_size, self.stride, strict=True)
        return num_in * math.prod(-(-k // s) if k > s else 1 for k, s in steps)

    def describe(self) -> str:
        """Describe the window in words, for error messages."""
        return (
            f"kernel_size {list(self.kernel_size)}, stride {list(self.stride)}, "
            f"padding {list(self.padding)}, dilation {list(self.dilation)}"
        )
