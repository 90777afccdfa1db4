"""The merged config as it was written: values, where each one stands, and what is suspicious."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from bevdiag.config import tree
from bevdiag.config.ignores import IgnoreComment
from bevdiag.config.tree import Section
from bevdiag.errors import ConfigError, Location


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


@dataclass(frozen=True, slots=True)
class Document:
    """What a config says, bases and overrides merged.

    Keys are dotted paths; a list's entry is named by index or by its NAME, as in
    ``DATA_CONFIG.DATA_PROCESSOR.transform_points_to_voxels.VOXEL_SIZE``.
    """

    root: Section
    notes: tuple[ReadingNote, ...] = ()
    """What was suspicious about the text itself."""
    ignores: tuple[IgnoreComment, ...] = ()
    """The comments that silence findings."""

    def get(self, key: str) -> object:
        """Return the plain value at `key` (dicts, tuples, scalars), None where nothing stands."""
        node = tree.find(self.root, key.split("."))
        return None if node is None else tree.plain(node)

    def location(self, key: str) -> Location:
        """Where the value at `key` stands, or the nearest section around it if it is not written.

        The file is the base's for a key that a base brought in, and ``--set`` for an override.
        """
        return tree.descend(self.root, key.split("."))[0].location

    def key_location(self, key: str) -> Location:
        """Where `key` itself stands, or the nearest key around it if it is not written."""
        return tree.key_location(self.root, key.split("."))

    def edited(self, changes: Mapping[tuple[str, ...], object]) -> "Document":
        """Return a copy with each value replaced, or its key removed where the value is None.

        A replaced value keeps the location of the old one, a new key gets that of its section.

        Raises:
            ConfigError: where a path leads through a value that has no keys.
        """
        root = self.root
        for path, value in changes.items():
            if value is None:
                root = tree.without(root, path)
                continue
            deepest, _ = tree.descend(root, path)
            try:
                root = tree.with_node(root, path, tree.located(value, deepest.location))
            except KeyError as error:
                message = f"there is no such place in the config: {error.args[0]!r} not found"
                where = deepest.location
                raise ConfigError(message, location=where, key=tree.dotted(path)) from error
        return replace(self, root=root)
