from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bevdiag.source import read_source_config
from bevdiag.source.dialects.pcdet.dialect import OpenPcdet
from bevdiag.source.dialects.pcdet.supply import LoadedBatch
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.wiring_batch import BatchWatch

_REPOSITORY = Path(__file__).parents[2] / "repo"
_SETTINGS = read_source_config(_REPOSITORY / "tools/cfgs/models/one_stage.yaml")


class _Encoder(nn.Module):
    num_point_features = 6

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch["features"] = self.linear(batch["points"])
        return batch


class _Detector(nn.Module):
    def __init__(self, *, layer: nn.Module) -> None:
        super().__init__()
        self.encoder = _Encoder()
        self.layer = layer

    def forward(self, batch: dict[str, Any]) -> Any:
        loss = self.layer(self.encoder(batch)["features"]).sum()
        return {"loss": loss}, {}, {}


def _run(layer: nn.Module) -> torch.Tensor:
    model = _Detector(layer=layer)
    with Attribution(model) as attribution:
        batch = LoadedBatch(points=torch.ones(2, 3))
        attribution.begin_step()
        BatchWatch(model, attribution).begin(batch)
        return OpenPcdet(_REPOSITORY, _SETTINGS).loss(model, batch)


def test_a_layer_that_is_fed_other_channels_is_reported_by_whom() -> None:
    reported = (
        r"mat1 and mat2 shapes cannot be multiplied .*; the features read last are features, 4 "
        "channels, of encoder, which declares 6"
    )
    with pytest.raises(RuntimeError, match=reported):
        _run(nn.Linear(6, 1))


def test_a_step_that_runs_gives_its_loss() -> None:
    assert _run(nn.Linear(4, 1)).dim() == 0
