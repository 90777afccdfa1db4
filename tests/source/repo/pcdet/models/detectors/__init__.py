from .failing import (
    Aborting,
    AskingForImages,
    Downloading,
    Exiting,
    Hanging,
    MissingPackage,
    UnknownOp,
)
from .one_stage import OneStage
from .two_stage import TwoStage

DETECTORS = {
    "OneStage": OneStage,
    "TwoStage": TwoStage,
    "Aborting": Aborting,
    "AskingForImages": AskingForImages,
    "Exiting": Exiting,
    "Hanging": Hanging,
    "MissingPackage": MissingPackage,
    "UnknownOp": UnknownOp,
    "Downloading": Downloading,
}
