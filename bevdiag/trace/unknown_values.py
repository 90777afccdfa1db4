"""Who supplies the values that meta tensors do not have."""

from typing import Protocol

import torch


class UnknownValues(Protocol):
    """Supplies values where a shape or a coordinate depends on those of a meta tensor."""

    def mask(self, mask: torch.Tensor) -> torch.Tensor:
        """A bool tensor with values in place of a meta one; the same one for the same tensor."""

    def negated(self, mask: torch.Tensor, result: torch.Tensor) -> None:
        """`result` is the meta tensor of `~mask`."""

    def order(self, shape: tuple[int, ...], dim: int, length: int) -> torch.Tensor:
        """Indices int64 along `dim` of a tensor of this shape, `length` of them, none twice."""

    def rows(self, index: torch.Tensor, size: int) -> torch.Tensor:
        """An int64 index with values below `size` in place of a meta one."""

    def distinct(self, count: int) -> int:
        """How many distinct values `count` unknown ones have."""
