from . import failing
from .one_stage import OneStage
from .two_stage import TwoStage

DETECTORS = {
    "OneStage": OneStage,
    "TwoStage": TwoStage,
    **{
        name: kind
        for name, kind in vars(failing).items()
        if isinstance(kind, type) and issubclass(kind, failing._Failing)
    },
}
