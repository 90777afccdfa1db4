"""Configs in OpenPCDet's YAML dialect: read with locations, merged, checked, edited."""

from bevdiag.config.document import Document
from bevdiag.config.load import DetectorConfig, load_config
from bevdiag.config.notes import NoteCode, ReadingNote

__all__ = [
    "DetectorConfig",
    "Document",
    "NoteCode",
    "ReadingNote",
    "load_config",
]
