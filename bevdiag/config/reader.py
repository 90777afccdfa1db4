"""Config files and ``--set`` values to located trees."""

from pathlib import Path
from typing import NamedTuple

from bevdiag.config import tree
from bevdiag.config.builder import MAX_BYTES, Allowance, TreeBuilder
from bevdiag.config.document import ReadingNote
from bevdiag.config.ignores import IgnoreComment, ignore_comments
from bevdiag.config.tree import Node, Scalar, Section, describe
from bevdiag.errors import ConfigError, InputError, Location
from bevdiag.files.reading import read_head


class FileText(NamedTuple):
    """What one YAML file says, and what is said about it."""

    root: Section
    notes: tuple[ReadingNote, ...]
    ignores: tuple[IgnoreComment, ...]


def read_file(path: Path, under: tree.Path = (), allowance: Allowance | None = None) -> FileText:
    """Read the root section of a YAML file, its notes, and its comments that silence findings.

    Args:
        path: the file.
        under: where in the whole config its root will stand, for the keys in messages.
        allowance: what the files read before have left; this one takes its share.

    Raises:
        ConfigError: where the file cannot be read, is too large, or is not a YAML mapping.
    """
    start = Location(path, 1, 1)
    if path.suffix == ".py":
        message = "a Python config is code: name its repository with --source, which runs it"
        raise ConfigError(message, location=start)
    allowance = allowance or Allowance()
    try:
        data = read_head(path, allowance.num_bytes + 1)
    except InputError as error:
        raise ConfigError(str(error)) from error
    if len(data) > allowance.num_bytes:
        message = f"larger than {MAX_BYTES} bytes, bases included: no config"
        raise ConfigError(message, location=start)
    allowance.num_bytes -= len(data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        where = Location(path, line, column)
        raise ConfigError("not UTF-8 text: save the file as UTF-8", location=where) from error
    builder = TreeBuilder(text, path, under, allowance=allowance)
    root = builder.document()
    if root is None:
        raise ConfigError("the file is empty", location=start, key=tree.dotted(under))
    if not isinstance(root, Section):
        raise ConfigError(
            f"expected a mapping of keys to values, found {describe(root)}",
            location=root.location,
            key=tree.dotted(under),
        )
    return FileText(root, tuple(builder.notes), ignore_comments(text, path))


def read_value(text: str, option: Location) -> Node:
    """Read the value of ``--set KEY=value``: a YAML scalar, ``[list]`` or ``{mapping}``.

    Args:
        text: what stands after the equals sign; nothing means null.
        option: where the value starts.

    Raises:
        ConfigError: where the text is not YAML.
    """
    root = TreeBuilder(text, option.file, (), option).document()
    return Scalar(None, option) if root is None else root
