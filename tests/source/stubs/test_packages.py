import copy
import pickle

import pytest

from bevdiag.source.stubs.packages import EasyDict
from bevdiag.source.stubs.spconv import spconv_modules


def test_easydict_has_attributes_at_every_depth() -> None:
    config = EasyDict({"MODEL": {"HEADS": [{"NAME": "a"}], "SIZE": (1, 2)}}, EXTRA=1)
    assert config.MODEL.HEADS[0].NAME == "a"
    assert config.EXTRA == 1
    config.MODEL.update({"NEW": {"KEY": 2}})
    assert config.MODEL.NEW.KEY == 2
    assert config.get("NOTHING") is None
    with pytest.raises(AttributeError):
        _ = config.NOTHING
    del config.EXTRA
    assert "EXTRA" not in config
    for copied in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert copied == config
        assert isinstance(copied.MODEL.HEADS[0], EasyDict)


def test_spconv_has_the_modules_that_detectors_import() -> None:
    modules = spconv_modules()
    assert float(modules["spconv"].__version__[2:]) >= 2.2
    assert modules["spconv"].constants is modules["spconv.constants"]
    pytorch = modules["spconv.pytorch"]
    assert pytorch.conv.SparseConvolution is not None
    assert issubclass(pytorch.SubMConv3d, pytorch.modules.SparseModule)
    for name in ("utils", "core", "functional", "conv", "modules", "pool"):
        assert f"spconv.pytorch.{name}" in modules
    assert "cumm.tensorview" in modules
