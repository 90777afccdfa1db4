from . import failing
from .asking import Asking
from .one_stage import OneStage
from .two_stage import TwoStage

DETECTORS = {
    "Asking": Asking,
    "OneStage": OneStage,
    "TwoStage": TwoStage,
    **{
        name: kind
        for name, kind in vars(failing).items()
        if isinstance(kind, type) and issubclass(kind, failing._Failing)
    },
}
