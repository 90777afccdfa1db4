"""Things in a config that are legal but suspicious: reported to the user, never refused."""

from dataclasses import dataclass
from enum import Enum

from bevdiag.errors import Location


class NoteCode(str, Enum):
    """What kind of thing a note is about."""

    AMBIGUOUS_SCALAR = "ambiguous-scalar"
    DUPLICATE_KEY = "duplicate-key"
    NUMBER_AS_TEXT = "number-as-text"
    UNKNOWN_KEY = "unknown-key"
    COPIES_DIFFER = "copies-differ"


@dataclass(frozen=True, slots=True)
class ReadingNote:
    """One suspicious thing; `key` is its dotted path."""

    code: NoteCode
    message: str
    key: str
    location: Location
