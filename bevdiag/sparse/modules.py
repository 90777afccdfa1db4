"""Containers and small modules of `spconv.pytorch`."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from bevdiag.sparse.tensor import SparseConvTensor


class SparseModule(nn.Module):
    """Base of the modules that take a sparse tensor inside a SparseSequential."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__()
        self.name = name
        self._sparse_unique_name = ""


class _OnFeatures(nn.Module):
    """A layer of features that takes a sparse tensor as well."""

    def forward(self, input: Any) -> Any:
        """Apply the layer to the features."""
        if isinstance(input, SparseConvTensor):
            return input.replace_feature(super().forward(input.features))
        return super().forward(input)


class SparseBatchNorm(_OnFeatures, nn.BatchNorm1d):
    """BatchNorm1d that takes a sparse tensor as well."""


class SparseReLU(_OnFeatures, nn.ReLU):
    """ReLU that takes a sparse tensor as well."""


class SparseIdentity(_OnFeatures, nn.Identity):
    """Identity that takes a sparse tensor as well."""


class Identity(SparseModule):
    """Hands its input on."""

    def forward(self, input: Any) -> Any:
        """Return the input."""
        return input


class ToDense(SparseModule):
    """Sparse tensor to [B, C, ...cells]."""

    def forward(self, x: SparseConvTensor) -> torch.Tensor:
        """Scatter the features into a dense tensor."""
        return x.dense()


class RemoveGrid(SparseModule):
    """Drops the grid buffer."""

    def forward(self, x: SparseConvTensor) -> SparseConvTensor:
        """Return the input without its grid."""
        x.grid = None
        return x


class SparseSequential(SparseModule):
    """Runs modules in order; plain ones on the features, sparse ones on the whole tensor.

    Takes modules, one OrderedDict of modules, or modules as keywords, like spconv's.
    """

    def __init__(self, *args: Any, **kwargs: nn.Module) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            named = list(args[0].items())
        else:
            named = [(str(index), module) for index, module in enumerate(args)]
        for name, module in (*named, *kwargs.items()):
            if name in self._modules:
                raise ValueError(f"the name {name!r} is given twice")
            self.add_module(name, module)

    def __getitem__(self, index: int) -> nn.Module | None:
        return list(self._modules.values())[index]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[nn.Module | None]:
        return iter(self._modules.values())

    def add(self, module: nn.Module, name: str | None = None) -> None:
        """Append a module, by default under its position."""
        self.add_module(str(len(self._modules)) if name is None else name, module)

    def forward(self, input: Any) -> Any:
        """Run the modules one after another."""
        for module in self._modules.values():
            if module is None:
                continue
            if is_spconv_module(module) or not isinstance(input, SparseConvTensor):
                input = module(input)
            elif len(input.indices):
                input = input.replace_feature(module(input.features))
        return input


def is_spconv_module(module: object) -> bool:
    """Whether SparseSequential hands this module the whole sparse tensor."""
    return isinstance(module, (SparseModule, SparseBatchNorm, SparseReLU))


def assign_name_for_sparse_modules(module: nn.Module) -> None:
    """Tell every sparse module its path."""
    for name, child in module.named_modules():
        if isinstance(child, SparseModule):
            child._sparse_unique_name = name
