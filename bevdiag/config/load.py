"""From a config file to settings that the rest of bevdiag can trust."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from bevdiag.config import tree
from bevdiag.config.agreement import (
    check_depth,
    check_voxelizer,
    copies_that_differ,
    with_class_names,
)
from bevdiag.config.bases import BASE_KEY, read_merged, read_value
from bevdiag.config.checking import checked
from bevdiag.config.data import read_data
from bevdiag.config.document import Document, ReadingNote
from bevdiag.config.fields import Settings
from bevdiag.config.model_settings import DataSettings, ModelSettings, OptimizationSettings
from bevdiag.config.modules import check_modules
from bevdiag.config.nearest import did_you_mean
from bevdiag.config.tree import Listing, Node, Section, describe
from bevdiag.config.unknown_keys import unknown_keys
from bevdiag.errors import ConfigError, Location

_MODEL = ("MODEL",)
_OPTIMIZATION = ("OPTIMIZATION",)


class _Classes(Settings):
    class_names: tuple[str, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorConfig:
    """One checked config: its settings, and the document that they were read from.

    `notes` are things that are legal but suspicious.
    """

    path: Path
    class_names: tuple[str, ...]
    data: DataSettings
    model: ModelSettings
    optimization: OptimizationSettings
    document: Document
    notes: tuple[ReadingNote, ...]

    def edited(self, changes: Mapping[tuple[str, ...], object]) -> "DetectorConfig":
        """Return the config with values replaced, checked again from the start.

        Args:
            changes: new value by path, as in ``{("OPTIMIZATION", "USE_AMP"): True}``; None removes
                the key. A list's entry is named by index or by its NAME. Sections that are missing
                on the way are made.

        Raises:
            ConfigError: where the edited config makes no sense.
            NoVerdictError: where it asks for something that bevdiag does not model.
        """
        return from_document(self.path, self.document.edited(changes))


def read_document(path: Path, overrides: Sequence[str] = ()) -> Document:
    """Read and merge a config without checking what it says.

    Raises:
        ConfigError: where the text or an override cannot be read.
    """
    root, notes, ignores = read_merged(path)
    return Document(overridden(root, overrides), notes, ignores)


def load_config(path: Path, overrides: Sequence[str] = ()) -> DetectorConfig:
    """Read, merge and check a config in OpenPCDet's dialect.

    Args:
        path: the YAML file.
        overrides: ``KEY=value`` texts, applied in order after the bases are merged.

    Raises:
        ConfigError: where the text, an override or a value makes no sense.
        NoVerdictError: where the config asks for something that bevdiag does not model.
    """
    return from_document(path, read_document(path, overrides))


def from_document(path: Path, document: Document) -> DetectorConfig:
    """Check the settings of a document that was read from `path`.

    Raises:
        ConfigError: where a value makes no sense.
        NoVerdictError: where the config asks for something that bevdiag does not model.
    """
    root = document.root
    check_modules(root)
    class_names = checked(_Classes, root, ()).class_names
    written_model = checked(ModelSettings, root, _MODEL)
    check_depth(written_model, root)
    model = with_class_names(written_model, class_names, root)
    optimization = checked(OptimizationSettings, root, _OPTIMIZATION)
    data = read_data(root)
    check_voxelizer(data, model, root)
    return DetectorConfig(
        path=path,
        class_names=class_names,
        data=data,
        model=model,
        optimization=optimization,
        document=document,
        notes=(
            *document.notes,
            *unknown_keys(model, root, _MODEL),
            *unknown_keys(optimization, root, _OPTIMIZATION),
            *copies_that_differ(data, model, root),
        ),
    )


OPTION = Path("--set")


def overridden(root: Section, overrides: Sequence[str]) -> Section:
    """Return the tree with every ``KEY=value`` applied, in order.

    A value's location is named ``--set``, with the number of the option as its line.

    Raises:
        ConfigError: for a text without ``=``, an unknown path, or a value that is no YAML. A new
            key is allowed in a section that exists, a new entry of a list is not.
    """
    for number, text in enumerate(overrides, start=1):
        key, equals, value = text.partition("=")
        start = Location(OPTION, number, 1)
        path = tuple(key.strip().split("."))
        if not equals or not all(path):
            message = f"expected KEY=value such as MODEL.VFE.USE_NORM=false, found {text!r}"
            raise ConfigError(message, location=start)
        _check_path(root, path, start)
        node = read_value(value, Location(OPTION, number, len(key) + 2))
        root = tree.with_node(root, path, node)
    return root


def _check_path(root: Section, path: tree.Path, start: Location) -> None:
    deepest, rest = tree.descend(root, path)
    if not rest:
        return
    if path[-1] == BASE_KEY:
        message = "bases are merged before --set is applied: name another config file instead"
        raise ConfigError(message, location=start, key=tree.dotted(path))
    if len(rest) == 1 and isinstance(deepest, Section):
        return
    found = tree.dotted(path[: len(path) - len(rest)])
    message = _no_such_key(rest[0], found, deepest)
    raise ConfigError(message, location=start, key=tree.dotted(path))


def _no_such_key(key: str, found: str, deepest: Node) -> str:
    where = found or "the config"
    if isinstance(deepest, Section):
        return f"{where} has no key {key!r}{did_you_mean(key, deepest.entries)}"
    if isinstance(deepest, Listing):
        return f"{where} is {describe(deepest)}, and {key!r} is neither an index nor a NAME in it"
    return f"{where} is {describe(deepest)} and has no keys"
