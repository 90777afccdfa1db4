"""Builds the repository's model: on the CPU as its code says, then without values."""

import gc
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bevdiag.errors import InputError
from bevdiag.source.dataset import FakeDataset
from bevdiag.source.lanes import DeviceLanes
from bevdiag.source.settings import SourceSettings
from bevdiag.source.standins.packages import EasyDict
from bevdiag.source.state import Running, begin
from bevdiag.source.values import AssumedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.recorder import Recorder, as_meta

Resident = list[tuple[str, torch.Tensor]]


def find_package(root: Path) -> str:
    """The name of the repository's package.

    Raises:
        InputError: no folder in it looks like OpenPCDet's.
    """
    found = sorted(root.glob("*/models/detectors/__init__.py"))
    if not found:
        raise InputError(
            f"--source {root}: found no package with models/detectors/__init__.py: give the "
            "folder that holds `pcdet`"
        )
    return found[0].parents[2].name


def enter_repository(root: Path) -> None:
    """Make the repository importable, its scripts' folder the working one."""
    tools = root / "tools"
    sys.path[:0] = [str(root), str(tools)]
    os.chdir(tools if tools.is_dir() else root)


def import_builder(package: str) -> Any:
    """The repository's `build_network`."""
    models = importlib.import_module(f"{package}.models")
    return models.build_network


def build_model(build_network: Any, settings: SourceSettings) -> tuple[nn.Module, Resident]:
    """The model with meta parameters, and the other device tensors that its construction left."""
    config = EasyDict(settings.values())
    dataset = FakeDataset(settings, config)
    recorder = Recorder(Attribution(nn.Module()))
    recorder.bare_factories_on_host = True
    lanes = DeviceLanes(recorder)
    begin(Running(lanes, AssumedValues(Scenario.EXPECTED, {})))
    with recorder, lanes:
        model: nn.Module = build_network(
            model_cfg=config.MODEL, num_class=len(settings.class_names), dataset=dataset
        )
    recorder.stop()
    _drop_values(model)
    gc.collect()
    owners = _owners(model)
    own = {t.untyped_storage()._cdata for t in (*model.parameters(), *model.buffers())}
    resident = [
        (owners.get(storage._cdata, ""), _bytes_of(storage))
        for storage in recorder.live_storages()
        if storage._cdata not in own
    ]
    return model, resident


def _bytes_of(storage: torch.UntypedStorage) -> torch.Tensor:
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def _drop_values(model: nn.Module) -> None:
    """Parameters and norm statistics become meta tensors; whoever holds one holds it still."""
    for parameter in model.parameters():
        if not parameter.is_meta:
            meta = nn.Parameter(as_meta(parameter.detach()), parameter.requires_grad)
            torch.utils.swap_tensors(parameter, meta)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            for name, buffer in module._buffers.items():
                if buffer is not None and buffer.is_floating_point():
                    module._buffers[name] = as_meta(buffer)


def _owners(model: nn.Module) -> dict[int, str]:
    """The module that holds each tensor that is neither parameter nor buffer, by storage."""
    owners: dict[int, str] = {}
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if name not in ("_parameters", "_buffers", "_modules"):
                for tensor in _held(value, 3):
                    owners.setdefault(tensor.untyped_storage()._cdata, path)
    return owners


def _held(value: Any, depth: int) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif depth and isinstance(value, (list, tuple)):
        for item in value:
            yield from _held(item, depth - 1)
    elif depth and isinstance(value, dict):
        yield from _held(list(value.values()), depth)
    elif depth and hasattr(value, "__dict__") and not isinstance(value, (nn.Module, type)):
        yield from _held(list(vars(value).values()), depth - 1)
