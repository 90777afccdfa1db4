"""A config file together with the files that it builds on through ``_BASE_CONFIG_``.

The rules are OpenPCDet's: at every level the base comes first and the level's own keys override it;
mappings merge, everything else, lists included, is replaced. Unlike OpenPCDet, which looks a base
up from the working directory, bevdiag tries the folder of the file that names it and every folder
above, so a config is found whole from anywhere; and a base may have a base of its own. A config may
come from a stranger, and what it says is quoted in messages: a base must lie in the config's own
repository, symbolic links followed.
"""

from pathlib import Path

from bevdiag.config import tree
from bevdiag.config.document import Document, IgnoreComment, ReadingNote, ignore_comments
from bevdiag.config.tree import Node, Scalar, Section, describe, shortened
from bevdiag.config.yaml_tree import MAX_BYTES, Allowance, TreeBuilder
from bevdiag.errors import ConfigError, InputError, Location
from bevdiag.files.reading import read_part


def read_file(path: Path, under: tree.Path = (), allowance: Allowance | None = None) -> Document:
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
        data = read_part(path, allowance.num_bytes + 1)
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
    return Document(root, tuple(builder.notes), ignore_comments(text, path))


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


BASE_KEY = "_BASE_CONFIG_"
MAX_FILES = 64


def read_merged(path: Path) -> Document:
    """Read the merged tree of a config file and its bases, without the ``_BASE_CONFIG_`` keys.

    Raises:
        ConfigError: where a file cannot be read, a base is not found, or bases go in a circle.
    """
    merger = _Merger()
    root = merger.merged_file(path, ())
    return Document(root, tuple(merger.notes), tuple(merger.ignores))


class _Merger:
    """Reads and merges; remembers which files are being merged right now."""

    def __init__(self) -> None:
        self.notes: list[ReadingNote] = []
        self.ignores: list[IgnoreComment] = []
        self._allowance = Allowance()
        self._open: list[Path] = []
        self._num_files = 0

    def merged_file(self, path: Path, under: tree.Path) -> Section:
        read = read_file(path, under, self._allowance)
        self.notes += read.notes
        self.ignores += read.ignores
        self._open.append(path.resolve())
        merged = self._merged(Section({}, read.root.location), read.root, under)
        self._open.pop()
        return merged

    def _merged(self, onto: Section, over: Section, under: tree.Path) -> Section:
        entries, keys = dict(onto.entries), dict(onto.keys)
        base = over.entries.get(BASE_KEY)
        if base is not None:
            merged_base = self._base(base, under)
            entries.update(merged_base.entries)
            keys.update(merged_base.keys)
        for key, node in over.entries.items():
            if key == BASE_KEY:
                continue
            if isinstance(node, Section):
                below = entries.get(key)
                onto_below = below if isinstance(below, Section) else Section({}, node.location)
                node = self._merged(onto_below, node, (*under, key))
            entries[key] = node
        return Section(entries, over.location, {**keys, **over.keys})

    def _base(self, node: Node, under: tree.Path) -> Section:
        try:
            path = self._found(node)
        except ValueError as error:
            key = tree.dotted((*under, BASE_KEY))
            raise ConfigError(str(error), location=node.location, key=key) from error
        return self.merged_file(path, under)

    def _found(self, node: Node) -> Path:
        """Return the file that a base's name stands for; a ValueError says what is wrong."""
        if not isinstance(node, Scalar) or not isinstance(node.value, str) or not node.value:
            raise ValueError(f"expected the path of a YAML file, found {describe(node)}")
        file = node.location.file
        # Nearest first; shown relative to the config where it can be.
        places = [folder / node.value for folder in (file.parent, *file.resolve().parents)]
        path = next(filter(_is_file, places), None)
        if path is None:
            named = shortened(node.value)
            raise ValueError(f"{named!r}: no such file in {file.parent} or a folder above it")
        allowed = _allowed_root(self._open[0])
        if not path.resolve().is_relative_to(allowed):
            raise ValueError(f"{node.value!r} lies outside {allowed}: copy it to the config")
        if path.resolve() in self._open:
            raise ValueError(f"{node.value!r} builds on itself: bases may not go in a circle")
        self._num_files += 1
        if self._num_files > MAX_FILES:
            raise ValueError(f"more than {MAX_FILES} base files in all")
        return path


def _allowed_root(config: Path) -> Path:
    """Return the repository around a config, or where there is none, the first folder of its path.

    Args:
        config: absolute, symbolic links followed.
    """
    folders = tuple(config.parents)
    around = (folder for folder in folders if (folder / ".git").exists())
    return next(around, folders[-2] if len(folders) > 1 else folders[-1])


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
