"""What each module looked like when it ran: channels, output shape, parameters."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from bevdiag.trace.wiring import LayerRecord

_IN_NAMES = ("in_channels", "in_features", "num_features", "embed_dim")
_OUT_NAMES = ("out_channels", "out_features", "num_features", "embed_dim")


class LayerTable:
    """Collects the shapes while the model runs; the last step's stand."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._shapes: dict[str, tuple[tuple[int, ...] | None, tuple[int, ...] | None]] = {}
        self._seen: dict[int, dict[str, weakref.ref[torch.Tensor]]] = {}

    def note(self, path: str, module: nn.Module, inputs: Any, output: Any) -> None:
        """To be called when a module's forward returns."""
        left = self._written(output) if isinstance(output, dict) else _shape(output)
        self._shapes[path] = (_shape(inputs), left)

    def _written(self, batch: dict[str, Any]) -> tuple[int, ...] | None:
        """Return the shape of what a module put into the batch dict: the last entry that changed.

        Features that autograd follows go before plain numbers, those before coordinates.
        Entries are distinguished by their tensors' identity; to hold on to them would keep their
        memory, and a mere number would be another's once they are gone.
        """
        # dict's own methods: a batch that notes its readers (wiring_batch.py) is not read by this.
        tensors = {key: first_tensor(value) for key, value in dict.items(batch)}
        now = {key: tensor for key, tensor in tensors.items() if tensor is not None}
        before = self._seen.get(id(batch), {})
        self._seen[id(batch)] = {key: weakref.ref(tensor) for key, tensor in now.items()}
        maps = [
            tensor
            for key, tensor in reversed(now.items())
            if tensor.dim() > 1 and (key not in before or before[key]() is not tensor)
        ]
        best = max(maps, key=lambda t: (t.requires_grad, t.is_floating_point()), default=None)
        return None if best is None else tuple(best.shape)

    def records(self, fed: Callable[[str], int | None]) -> tuple[LayerRecord, ...]:
        """All modules but the detector itself, in the order of their definition.

        Args:
            fed: the channels that a module takes from the batch dict, where it is called with that.
        """
        return tuple(
            self._record(name, module, fed) for name, module in self._model.named_modules() if name
        )

    def _record(
        self, name: str, module: nn.Module, fed: Callable[[str], int | None]
    ) -> LayerRecord:
        entered, left = self._shapes.get(name, (None, None))
        own = _channels(module, _IN_NAMES, entered)
        return LayerRecord(
            name=name,
            type=type(module).__name__,
            depth=name.count("."),
            in_channels=fed(name) if own is None else own,
            out_channels=_channels(module, _OUT_NAMES, left),
            output_shape=left,
            params=sum(p.numel() for p in module.parameters()),
            has_children=any(True for _ in module.children()),
        )


def _channels(
    module: nn.Module, names: tuple[str, ...], shape: tuple[int, ...] | None
) -> int | None:
    for name in names:
        value = getattr(module, name, None)
        if isinstance(value, int):
            return value
    return None if shape is None else channels_of(shape)


def channels_of(shape: tuple[int, ...]) -> int | None:
    """C of a feature tensor's shape, None where it has no dimension for it."""
    if len(shape) < 2:
        return None
    # [B, C, H, W] and [B, C, D, H, W] maps; everything else ends in its channels.
    return shape[1] if len(shape) in (4, 5) else shape[-1]


def first_tensor(value: Any) -> torch.Tensor | None:
    """Return the first tensor of a value, the features [N, C] of a sparse one; None without any."""
    if isinstance(value, torch.Tensor):
        return value
    features = getattr(value, "features", None)
    if isinstance(features, torch.Tensor):
        return features
    if isinstance(value, (list, tuple)):
        return next((t for t in map(first_tensor, value) if t is not None), None)
    return None


def _shape(value: Any) -> tuple[int, ...] | None:
    tensor = first_tensor(value)
    return None if tensor is None else tuple(tensor.shape)
