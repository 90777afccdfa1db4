from pathlib import Path
from typing import Any

import pytest

from bevdiag.errors import ConfigError, NoVerdictError
from bevdiag.scenes import ROOM_RANGE
from bevdiag.source.dialects import python_configs
from bevdiag.source.dialects.mmengine import required
from bevdiag.source.dialects.mmengine.dialect import MMEngine
from bevdiag.source.dialects.python_configs import settings_of
from tests.source.dialects.mmengine.configs_of import _config

described = MMEngine(Path(), Path("a.py"), ()).described


@pytest.mark.parametrize(
    ("part", "library"),
    [({"type": "TR3DMinkResNet"}, "MinkowskiEngine"), ({"backend": "torchsparse"}, "TorchSparse")],
)
def test_libraries_with_allocators_of_their_own_are_refused(part: Any, library: str) -> None:
    model = {"type": "Detector", "backbone": part}
    with pytest.raises(NoVerdictError, match=f"the model runs on {library}"):
        described(_config(model=model))


def test_a_config_that_trains_nothing_is_one_sentence() -> None:
    with pytest.raises(NoVerdictError, match=r"no data set to train on \(train_dataloader"):
        described(_config(train_dataloader={}))


def test_a_config_of_before_mmengine_says_so() -> None:
    with pytest.raises(NoVerdictError, match=r"only one of before MMEngine, data\.train"):
        described(_config(train_dataloader={}, data={"train": {"type": "CocoDataset"}}))


def test_an_indoor_data_set_is_seen_as_a_room() -> None:
    dataset = {"type": "ScanNetDataset", "metainfo": {"classes": ["bed"]}}
    indoor = _config(model={"type": "VoteNet"}, train_dataloader={"dataset": dataset})
    assert described(indoor)["range"] == list(ROOM_RANGE)


def test_a_config_without_classes_is_one_sentence() -> None:
    said = {**described(_config()), "class_names": []}
    with pytest.raises(ConfigError, match="expected the data set's classes"):
        settings_of(Path("a.py"), said, "train")


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name=name.partition(".")[0])

    monkeypatch.setattr(python_configs.importlib, "import_module", missing)
    with pytest.raises(NoVerdictError, match="mmengine is not installed where bevdiag runs"):
        required("mmengine.config")
