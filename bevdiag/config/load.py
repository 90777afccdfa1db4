"""From a config file to settings that the rest of bevdiag can trust."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from bevdiag.config.agreement import check_voxelizer, copies_that_differ, with_class_names
from bevdiag.config.bases import read_merged
from bevdiag.config.checking import checked
from bevdiag.config.data import read_data
from bevdiag.config.depth import check_depth
from bevdiag.config.document import Document
from bevdiag.config.fields import Settings
from bevdiag.config.modules import check_modules
from bevdiag.config.notes import ReadingNote
from bevdiag.config.overrides import overridden
from bevdiag.config.settings import DataSettings, ModelSettings, OptimizationSettings
from bevdiag.config.unknown_keys import unknown_keys

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
