"""Configs in OpenPCDet's YAML dialect: read with locations, merged, checked, edited."""

from bevdiag.config.document import Document, IgnoreComment, NoteCode, ReadingNote
from bevdiag.config.load import DetectorConfig, from_document, load_config, read_document

__all__ = [
    "DetectorConfig",
    "Document",
    "IgnoreComment",
    "NoteCode",
    "ReadingNote",
    "from_document",
    "load_config",
    "read_document",
]
