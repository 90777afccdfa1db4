"""Configs in OpenPCDet's YAML dialect: read with locations, merged, checked, edited."""

from bevdiag.config.document import Document, NoteCode, ReadingNote
from bevdiag.config.ignores import IgnoreComment
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
