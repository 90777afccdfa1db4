"""Configs that OpenPCDet's authors train as they are: nothing is wrong with them."""

from pathlib import Path

import pytest

from bevdiag.prediction.inspect import inspect
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import Prediction
from bevdiag.rules.finding import Severity

CONFIGS = Path(__file__).resolve().parents[3] / "shared" / "openpcdet" / "cfgs"


@pytest.mark.parametrize(
    ("config", "source"),
    [
        ("kitti_models/second.yaml", "encoded_spconv_tensor"),
        ("kitti_models/pointpillar.yaml", "pillar_features"),
        ("once_models/centerpoint.yaml", "encoded_spconv_tensor"),
    ],
)
def test_a_trained_config_is_no_cause_for_alarm(config: str, source: str) -> None:
    path = CONFIGS / config
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    options = InspectOptions(device="meta", batch_size=1, remedies=False)
    report = inspect(path, options, lambda what, share: None)
    assert isinstance(report, Prediction)
    assert [f.code for f in report.findings if f.severity is Severity.ERROR] == []
    assert report.wiring is not None
    assert report.wiring.is_sound
    assert [map_input.key for map_input in report.wiring.bev_sources] == [source]
