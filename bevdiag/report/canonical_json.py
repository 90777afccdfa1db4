"""JSON that is the same bytes for the same content."""

import json
from typing import Any


def dumps(document: dict[str, Any]) -> str:
    """Two-space indent, ASCII only, keys in the document's order, a newline at the end.

    Raises:
        ValueError: for an infinity or NaN, which JSON does not have.
    """
    return json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False) + "\n"
