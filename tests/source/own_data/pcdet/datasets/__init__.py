from .own import OwnDataset
from .template import DatasetTemplate

__all__ = {"DatasetTemplate": DatasetTemplate, "OwnDataset": OwnDataset}
