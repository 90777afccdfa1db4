"""From a TOML file to policies."""

import reprlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from bevdiag.config.nearest import did_you_mean
from bevdiag.errors import ConfigError, InputError, Location
from bevdiag.files.bounds import Place, scan_toml
from bevdiag.files.reading import read_file, read_head
from bevdiag.policy.keys import FOR_CONFIGS, KEYS, IgnoredRule, Policy, Setting, names

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAME = "bevdiag.toml"
MAX_BYTES = 2**20
MAX_NUMBER = 10**18

_TEXTS, _NUMBERS = names("text"), names("number")
_KEYS = tuple(key.name for key in KEYS)


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A file's policy for every config, and those for some of them.

    Attributes:
        path: the file.
        common: what holds for every config.
        special: patterns, as seen from the file's folder, and what holds for configs that match;
            later ones override earlier ones.
    """

    path: Path
    common: Policy
    special: tuple[tuple[tuple[str, ...], Policy], ...] = ()

    def of(self, config: Path) -> Policy:
        """Return what holds for this config."""
        policy = self.common
        name = _seen_from(self.path.parent, config)
        for patterns, special in self.special:
            if any(fnmatch(name, pattern) for pattern in patterns):
                policy = policy.overridden(special)
        return policy


def find_policy(config: Path) -> Path | None:
    """Find the nearest policy's file, from the config's folder up to the root of its repository."""
    for folder in (config.resolve().parent, *config.resolve().parent.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
        project = folder / "pyproject.toml"
        if project.is_file() and _names_bevdiag(project):
            return project
        if (folder / ".git").exists():
            return None
    return None


def _names_bevdiag(project: Path) -> bool:
    try:
        return b"tool.bevdiag" in read_head(project, MAX_BYTES)
    except InputError:
        return False


def read_policy(path: Path) -> PolicyFile:
    """Read the policies of a file.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or says what no policy can say.
    """
    text = _read(path)
    try:
        places = scan_toml(text)
        tables: dict[str, Any] = tomllib.loads(text)
    except InputError as error:
        raise ConfigError(f"{path}: {error}: no policy") from error
    except (ValueError, RecursionError) as error:  # a ValueError also for an endless number
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    if path.name == "pyproject.toml":
        tables = tables.get("tool", {}).get("bevdiag", {})
    reader = _Reader(path, text, places)
    entries = tables.pop(FOR_CONFIGS, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise reader.error(FOR_CONFIGS, "expected [[...config]], a table for some configs")
    return PolicyFile(
        path=path,
        common=reader.policy(tables, (FOR_CONFIGS, *_KEYS)),
        special=tuple(reader.special(entry) for entry in entries),
    )


def _read(path: Path) -> str:
    try:
        return read_file(path, MAX_BYTES, instead="no policy").decode("utf-8")
    except InputError as error:
        raise ConfigError(str(error)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not valid UTF-8: {error.reason}") from error


class _Reader:
    """Checks the tables of one file; `places` says where its keys stand."""

    def __init__(self, path: Path, text: str, places: Mapping[str, Sequence[Place]]) -> None:
        self._path = path
        self._lines = text.split("\n")
        self._places = places

    def special(self, entry: dict[str, Any]) -> tuple[tuple[str, ...], Policy]:
        files = entry.pop("files", None)
        patterns = [files] if isinstance(files, str) else files
        if not isinstance(patterns, list) or not all(isinstance(one, str) for one in patterns):
            raise self.error(
                "files", 'every [[...config]] needs files = "PATTERN", or a list of patterns'
            )
        return tuple(patterns), self.policy(entry, ("files", *_KEYS))

    def policy(self, table: Mapping[str, Any], allowed: tuple[str, ...]) -> Policy:
        for key in table:
            if key not in _KEYS:
                hint = did_you_mean(key, allowed)
                raise self.error(key, f"there is no setting of this name{hint}")
        values: dict[str, Any] = {key: self._text(table, key) for key in _TEXTS if key in table}
        values |= {key: self._number(table, key) for key in _NUMBERS if key in table}
        return Policy(
            **values,
            assume=dict(self._assumed(table.get("assume", {}))),
            ignore=dict(self._ignored(table.get("ignore", {}))),
        )

    def _text(self, table: Mapping[str, Any], key: str) -> Setting:
        value = table[key]
        if not isinstance(value, str):
            raise self.error(key, f"expected text in quotes, not {_shown(value)}")
        return Setting(value, self._place(key, value))

    def _number(self, table: Mapping[str, Any], key: str) -> Setting:
        value = table[key]
        if not _is_count(value):
            raise self.error(key, f"expected a whole number, not {_shown(value)}")
        return Setting(str(value), self._place(key))

    def _assumed(self, table: Any) -> Iterator[tuple[str, Setting]]:
        if not isinstance(table, dict):
            raise self.error("assume", 'expected a table such as {"SITE" = COUNT}')
        for site, count in table.items():
            if not _is_count(count) or count < 0:
                raise self.error(site, f"expected a count, not {_shown(count)}")
            yield site, Setting(str(count), self._place(site))

    def _ignored(self, table: Any) -> Iterator[tuple[str, IgnoredRule]]:
        if not isinstance(table, dict):
            raise self.error("ignore", 'expected a table such as {BEV305 = "why"}')
        for code, reason in table.items():
            if not isinstance(reason, str) or not reason.strip():
                raise self.error(code, "expected the reason, as text: why is it ignored here?")
            yield code, IgnoredRule(code, reason.strip(), self._place(code))

    def error(self, key: str, message: str) -> ConfigError:
        return ConfigError(message, location=self._place(key), key=key)

    def _place(self, key: str, value: str | None = None) -> Location:
        """Where the key stands, of several the one with this value; else the file's start."""
        line, column = next(
            (
                place
                for place in self._places.get(key, ())
                if value is None or value in self._lines[place[0] - 1]
            ),
            (1, 1),
        )
        return Location(self._path, line, column)


def _is_count(value: object) -> bool:
    """Whether it is a whole number that Python also writes in decimal."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < MAX_NUMBER


def _shown(value: object) -> str:
    """Show a value as a sentence quotes it; of a long one, its kind."""
    if isinstance(value, int) and abs(value) >= MAX_NUMBER:
        return "a number of more than 18 digits"
    return reprlib.repr(value)


def _seen_from(folder: Path, config: Path) -> str:
    path = config.resolve()
    try:
        return path.relative_to(folder.resolve()).as_posix()
    except ValueError:
        return path.as_posix()
