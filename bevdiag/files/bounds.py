"""What a text may hold is bounded before any parser builds it: one pass, no more memory than text.

Parsers are quick and small on what people write, and take minutes and gigabytes for what nobody
does: a TOML key of thirty thousand parts, a million empty objects that each lack ten fields.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping

from bevdiag.errors import InputError

MAX_JSON_OBJECTS = 2**15
MAX_JSON_VALUES = 2**18
MAX_TOML_DEPTH = 32
"""Parts of a key, and brackets that are open."""
MAX_TOML_VALUES = 10_000

_TOML = re.compile(
    r"(?P<comment>\#[^\n]*)"
    r'|(?P<string>"""(?:[^"\\]|\\.|"(?!""))*(?:"{3,5}|\\?\Z)'
    r"|'''(?:[^']|'(?!''))*(?:'{3,5}|\Z)"
    r'|"(?:[^"\\\n]|\\[^\n])*"?|' + r"'[^'\n]*'?)"
    r"|(?P<bare>[A-Za-z0-9_+:-]+)"
    r"|(?P<dot>\.)"
    r"|(?P<open>[\[{])"
    r"|(?P<close>[\]}])"
    r"|(?P<next>[=,]|\n+)",
    re.DOTALL,
)

Place = tuple[int, int]
"""Line and column, from 1."""


def check_json(data: bytes) -> None:
    """Refuse JSON with more values than any honest file; what text says in quotes counts too.

    Raises:
        InputError: it has.
    """
    objects = data.count(b"{")
    if objects > MAX_JSON_OBJECTS:
        raise InputError(f"it has more than {MAX_JSON_OBJECTS} objects")
    if objects + data.count(b"[") + data.count(b",") > MAX_JSON_VALUES:
        raise InputError(f"it has more than {MAX_JSON_VALUES} values")


def scan_toml(text: str) -> Mapping[str, list[Place]]:
    """Where every key stands, the last part of its name alone, in the text's order.

    Raises:
        InputError: the text is nested deeper, or has more values, than any honest file.
    """
    found: dict[str, list[Place]] = {}
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    depth = parts = values = 0
    in_value = False
    last: re.Match[str] | None = None
    for token in _TOML.finditer(text):
        kind, sign = token.lastgroup, token[0]
        if kind in ("string", "bare"):
            last = token
            continue
        if kind == "dot":
            parts += 1
        elif kind == "open":
            depth, parts = depth + 1, 0
        elif kind in ("close", "next"):
            # A key ends at its equals sign, the name of a table at its bracket.
            if last is not None and (sign == "=" or (sign == "]" and not in_value)):
                start = last.start() + (last.lastgroup == "string")
                line = bisect_right(starts, start)
                place = (line, start - starts[line - 1] + 1)
                found.setdefault(last[0].strip("\"'"), []).append(place)
            in_value = sign == "=" or (in_value and not (sign[0] == "\n" and depth == 0))
            values += sign in "=,]"
            depth, parts = max(0, depth - (kind == "close")), 0
            last = None
        if parts >= MAX_TOML_DEPTH or depth > MAX_TOML_DEPTH:
            raise InputError(f"it is nested deeper than {MAX_TOML_DEPTH} levels")
        if values > MAX_TOML_VALUES:
            raise InputError(f"it has more than {MAX_TOML_VALUES} values")
    return found
