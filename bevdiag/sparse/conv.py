"""The sparse convolutions of `spconv.pytorch`."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from bevdiag.sparse import constants
from bevdiag.sparse.coordinates import Geometry
from bevdiag.sparse.functional import sparse_conv
from bevdiag.sparse.modules import SparseModule
from bevdiag.sparse.rulebook import Grid, Rulebook, build_rulebook
from bevdiag.sparse.tensor import ConvAlgo, SparseConvTensor

Size = int | Sequence[int]

_MASK_KERNEL_VOLUME = 32
_LARGE_KERNEL_VOLUME = 128


class WindowedModule(SparseModule):
    """A layer with a window. Sizes are a number or an entry an axis.

    Raises:
        ValueError: the entries are not as many as the axes, or too small.
    """

    algo: ConvAlgo

    def __init__(
        self,
        ndim: int,
        kernel_size: Size,
        stride: Size,
        padding: Size,
        dilation: Size,
        output_padding: Size,
        subm: bool,
        indice_key: str | None,
        name: str | None,
    ) -> None:
        super().__init__(name=name)
        self.ndim = ndim
        self.kernel_size = expand_nd(ndim, kernel_size)
        self.stride = expand_nd(ndim, stride)
        self.padding = expand_nd(ndim, padding)
        self.dilation = expand_nd(ndim, dilation)
        self.output_padding = expand_nd(ndim, output_padding)
        for name, least in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            if min(sizes := getattr(self, name)) < least:
                raise ValueError(f"{name} takes sizes of at least {least}, found {sizes}")
        self.subm = subm
        self.transposed = False
        self.indice_key = indice_key

    def _geometry(self) -> Geometry:
        return Geometry(
            tuple(self.kernel_size),
            tuple(self.stride),
            tuple(self.padding),
            tuple(self.dilation),
            tuple(self.output_padding),
            subm=self.subm,
            transposed=self.transposed,
        )

    def _new_rulebook(
        self, input: SparseConvTensor, rulebooks: dict[str, Rulebook]
    ) -> tuple[Rulebook, torch.Tensor | None]:
        """Make a rulebook, kept in `rulebooks` under the indice_key; see `build_rulebook`.

        Raises:
            ValueError: the sparse tensor has other axes than the layer.
        """
        if (axes := len(input.spatial_shape)) != self.ndim:
            raise ValueError(f"a layer of {self.ndim} axes meets a sparse tensor of {axes}")
        grid = Grid(input.indices, input.spatial_shape, input.batch_size, input.features.device)
        rulebook, num_pairs = build_rulebook(
            grid,
            self._geometry(),
            self.algo,
            training=self.training,
            scratch=input.thrust_allocator,
        )
        if self.indice_key is not None:
            rulebooks[self.indice_key] = rulebook
        return rulebook, num_pairs


class SparseConvolution(WindowedModule):
    """Drop-in for spconv's class of the same name; `weight` is KRSC: [C_out, *kernel, C_in].

    Args:
        ndim: axes of the grid.
        in_channels: C_in.
        out_channels: C_out.
        kernel_size: a number or an entry an axis, as the next three.
        stride: ignored by a submanifold convolution.
        padding: ignored by a submanifold convolution.
        dilation: distance of the window's offsets.
        groups: 1 only.
        bias: add a learned bias.
        subm: keep the input's voxels.
        output_padding: for transposed convolutions.
        transposed: a transposed convolution.
        inverse: undo the convolution whose rulebook stands under `indice_key`.
        indice_key: where the rulebook is kept in the tensor's indice_dict.
        algo: None lets the kernel volume decide.
        fp32_accum: taken for the signature's sake; no memory depends on it.
        record_voxel_count: keep the largest number of outputs in a buffer.
        large_kernel_fast_algo: take the implicit GEMM up to a kernel volume of 128.
        name: the module's name.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: groups is not 1, or a pointwise convolution is padded.
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Size = 3,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        subm: bool = False,
        output_padding: Size = 0,
        transposed: bool = False,
        inverse: bool = False,
        indice_key: str | None = None,
        algo: ConvAlgo | None = None,
        fp32_accum: bool | None = None,
        record_voxel_count: bool = False,
        large_kernel_fast_algo: bool = False,
        name: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if groups != 1:
            raise ValueError(f"sparse convolutions have one group, found groups={groups}")
        super().__init__(
            *(ndim, kernel_size, stride, padding, dilation, output_padding),
            *(subm, indice_key, name),
        )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.groups = groups
        self.transposed = transposed
        self.inverse = inverse
        self.fp32_accum = fp32_accum
        self.record_voxel_count = record_voxel_count
        self.conv1x1 = self._is_pointwise()
        self.algo = algo or self._fitting_algo(large_kernel_fast_algo)
        if record_voxel_count and not subm and not inverse:
            count = torch.zeros(1, dtype=torch.int32, device=device)
            self.register_buffer("max_num_voxels_during_training", count)
        weight_shape = (out_channels, *self.kernel_size, in_channels)
        self.weight = nn.Parameter(torch.zeros(weight_shape, device=device, dtype=dtype))
        self.bias: nn.Parameter | None
        self.register_parameter("bias", None)
        if bias:
            self.bias = nn.Parameter(torch.zeros(out_channels, device=device, dtype=dtype))
        self.reset_parameters()

    def _is_pointwise(self) -> bool:
        if math.prod(self.kernel_size) != 1:
            return False
        if self.subm:
            return True
        if math.prod(self.stride) != 1:
            return False
        if any(self.padding):
            raise ValueError(f"a pointwise convolution takes no padding, found {self.padding}")
        return True

    def _fitting_algo(self, large_kernel_fast_algo: bool) -> ConvAlgo:
        if constants.FIRST_GENERATION:
            return ConvAlgo.Native
        limit = _LARGE_KERNEL_VOLUME if large_kernel_fast_algo else _MASK_KERNEL_VOLUME
        fits = math.prod(self.kernel_size) <= limit
        return ConvAlgo.MaskImplicitGemm if fits else ConvAlgo.Native

    def reset_parameters(self) -> None:
        """Kaiming-uniform with a = sqrt(5); the fan counts input channels times kernel volume.

        A seed gives the weights that it gives spconv, bit for bit: weight first, then bias.
        """
        root = math.sqrt(self.in_channels * math.prod(self.kernel_size))
        # 1 / root but for the rounding, which is spconv's.
        bound = math.sqrt(3.0) * (nn.init.calculate_gain("leaky_relu", math.sqrt(5)) / root)
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -1 / root, 1 / root)

    def is_inverseable(self) -> bool:
        """Whether an inverse convolution can undo this one."""
        return self.indice_key is not None and not self.subm

    def get_max_num_voxels(self) -> torch.Tensor | None:
        """Return the largest number of outputs so far, where it is recorded."""
        count: torch.Tensor | None = getattr(self, "max_num_voxels_during_training", None)
        return count

    def extra_repr(self) -> str:
        """Return the arguments that differ from their defaults."""
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        for field in ("padding", "dilation", "output_padding"):
            value = getattr(self, field)
            if value != [int(field == "dilation")] * self.ndim:
                text += f", {field}={value}"
        if self.bias is None:
            text += ", bias=False"
        return f"{text}, algo={self.algo}"

    def forward(
        self, input: SparseConvTensor, add_input: SparseConvTensor | None = None
    ) -> SparseConvTensor:
        """Convolve; `add_input`'s features are added to the result.

        Raises:
            ValueError: the channels or the rulebook under the indice_key do not fit.
        """
        if input.features.shape[1] != self.in_channels:
            raise ValueError(
                f"channel size mismatch: the layer takes {self.in_channels} channels, the sparse "
                f"tensor has {input.features.shape[1]}"
            )
        output = self._pointwise(input) if self.conv1x1 else self._convolve(input)
        if add_input is not None:
            output = output.replace_feature(output.features + add_input.features)
        return output

    def _pointwise(self, input: SparseConvTensor) -> SparseConvTensor:
        # spconv reinterprets the weight's memory, [C_out, C_in], as [C_in, C_out].
        weight = self.weight.view(self.in_channels, self.out_channels)
        features = torch.mm(input.features, weight)
        if self.bias is not None:
            features += self.bias
        output = input.replace_feature(features)
        output.spatial_shape = self._geometry().output_shape(input.spatial_shape)
        return output

    def _convolve(self, input: SparseConvTensor) -> SparseConvTensor:
        rulebooks = input.indice_dict.copy()
        features = input.features.contiguous()
        rulebook, num_pairs = self._rulebook(input, rulebooks)
        features = sparse_conv(
            features, self.weight, rulebook, inverse=self.inverse, training=self.training
        )
        if self.bias is not None:
            features += self.bias
        del num_pairs
        output = input.replace_feature(features)
        output.indices = rulebook.indices if self.inverse else rulebook.out_indices
        shape = rulebook.spatial_shape if self.inverse else rulebook.out_spatial_shape
        output.spatial_shape = list(shape)
        output.indice_dict = rulebooks
        count = self.get_max_num_voxels()
        if count is not None and not features.is_meta:
            count.clamp_(min=len(output.indices))
        return output

    def _rulebook(
        self, input: SparseConvTensor, rulebooks: dict[str, Any]
    ) -> tuple[Rulebook, torch.Tensor | None]:
        known = input.find_indice_pair(self.indice_key)
        if known is not None:
            self._check_reuse(input, known)
            return known, None
        if self.inverse:
            raise ValueError(
                f"no convolution before this inverse one has the indice_key {self.indice_key!r}"
            )
        return self._new_rulebook(input, rulebooks)

    def _check_reuse(self, input: SparseConvTensor, known: Rulebook) -> None:
        key = self.indice_key
        if known.algo is not self.algo:
            raise ValueError(f"the layers with indice_key {key!r} differ in algo")
        if self.inverse and known.geometry.subm:
            raise ValueError(f"the submanifold layer with indice_key {key!r} has no inverse")
        if not self.inverse and not (self.subm and known.geometry.subm):
            raise ValueError(
                f"indice_key {key!r} exists already: only submanifold and inverse layers share one"
            )
        kernel = list(known.geometry.kernel_size), list(known.geometry.dilation)
        if self.kernel_size != kernel[0] or (self.subm and self.dilation != kernel[1]):
            raise ValueError(f"the layers with indice_key {key!r} differ in kernel or dilation")
        shape = known.out_spatial_shape if self.inverse else known.spatial_shape
        indices = known.out_indices if self.inverse else known.indices
        if input.spatial_shape != shape or len(input.indices) != len(indices):
            raise ValueError(
                f"the rulebook with indice_key {key!r} is for {len(indices)} voxels in {shape}, "
                f"but the input has {len(input.indices)} in {input.spatial_shape}"
            )


def expand_nd(ndim: int, value: Size) -> list[int]:
    """Return a number for every axis, or the numbers as given.

    Raises:
        ValueError: their count is not that of the axes.
    """
    sizes = [value] * ndim if isinstance(value, int) else [int(size) for size in value]
    if len(sizes) != ndim:
        raise ValueError(f"expected {ndim} sizes, found {sizes}")
    return sizes
