"""What a project has decided: budgets, margins and silenced rules, in bevdiag.toml.

A policy stands in a file `bevdiag.toml`, or in the table `[tool.bevdiag]` of a `pyproject.toml`;
the one nearest to a config, upwards, counts.
"""

import reprlib
import sys
from collections.abc import ItemsView, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from bevdiag.config.nearest import did_you_mean
from bevdiag.errors import ConfigError, InputError, Location
from bevdiag.files.bounds import Place, scan_toml
from bevdiag.files.reading import read_file, read_part


@dataclass(frozen=True, slots=True)
class Setting:
    """A value as the file says it, as text, and where."""

    text: str
    location: Location


POLICY_SCHEMA = "policy/1"
FOR_CONFIGS = "config"
"""The tables for some configs, each with its `files`."""


_TEXT = {"type": "string"}
_NUMBER = {"type": "integer"}
_REASONS = {
    "type": "object",
    "patternProperties": {"^BEV[0-9]{3}$": {"type": "string", "minLength": 1}},
    "additionalProperties": False,
}
_COUNTS = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}


class Key(NamedTuple):
    """One key of the file: what JSON Schema says of its value, one sentence, and TOML for it."""

    name: str
    value: Mapping[str, Any]
    meaning: str
    example: str


KEYS = (
    Key("gpu", _TEXT, "The GPU to judge by; bevdiag gpus lists them.", '"rtx4090"'),
    Key("budget", _TEXT, "What the process may take in all, as nvidia-smi counts.", '"22GiB"'),
    Key("margin", _TEXT, "What must stay free of it: a share or a size.", '"10%"'),
    Key("torch", _TEXT, "The torch of the machine that trains, if another than here.", '"2.4.1"'),
    Key("cudnn", _TEXT, "Its cuDNN, if another than that torch ships with.", '"9.1"'),
    Key("autocast", _TEXT, "Mixed precision: off, fp16 or bf16.", '"fp16"'),
    Key("optimizer", _TEXT, "Instead of the config's own.", '"adamw"'),
    Key("batch_size", _NUMBER, "Samples a step on one GPU.", "4"),
    Key(
        "ignore",
        _REASONS,
        "Rules whose findings are silenced, each with its reason.",
        'BEV302 = "the high end is a frame that we filter out"',
    ),
    Key(
        "assume",
        _COUNTS,
        "Counts that depend on feature values, by the site that a report names.",
        '"backbone_3d.focal_encoder.kept_voxels" = 120_000',
    ),
)
_TABLES = ("ignore", "assume")
_NAMES = tuple(key.name for key in KEYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the file decides for one config; the rest is left to the command line.

    `settings` are by the names of `KEYS`, `assume` by site, `ignore` by rule.
    """

    settings: Mapping[str, Setting] = field(default_factory=dict)
    assume: Mapping[str, Setting] = field(default_factory=dict)
    ignore: Mapping[str, Setting] = field(default_factory=dict)

    def overridden(self, other: "Policy") -> "Policy":
        """Return this policy with everything that `other` decides.

        Where that says one of gpu and budget, it has said both.
        """
        dropped = ("gpu", "budget") if {"gpu", "budget"} & other.settings.keys() else ()
        kept = {name: said for name, said in self.settings.items() if name not in dropped}
        return Policy(
            settings={**kept, **other.settings},
            assume={**self.assume, **other.assume},
            ignore={**self.ignore, **other.ignore},
        )


def policy_toml(gpu: str | None = None) -> str:
    """Write a file with every key explained and commented out, but for the GPU if one is named."""
    lines = [
        "# What this project has decided once, for every bevdiag command. The file nearest to a",
        "# config counts; options and the variables BEVDIAG_GPU, BEVDIAG_BUDGET, ... go before it.",
    ]
    for key in KEYS:
        lines += ["", f"# {key.meaning}"]
        if key.name in _TABLES:
            lines += [f"# [{key.name}]", f"# {key.example}"]
        elif key.name == "gpu" and gpu is not None:
            lines.append(f'gpu = "{gpu}"')
        else:
            lines.append(f"# {key.name} = {key.example}")
    lines += [
        "",
        "# For some configs: later tables override earlier ones.",
        f"# [[{FOR_CONFIGS}]]",
        '# files = "cfgs/big/*.yaml"',
        '# gpu = "h200"',
    ]
    return "\n".join(lines) + "\n"


def policy_schema() -> dict[str, Any]:
    """Return a JSON Schema of the file, as `json_schema` begins one."""
    own = {key.name: {"description": key.meaning, **key.value} for key in KEYS}
    files = {
        "description": "Patterns, as seen from the file's folder.",
        "anyOf": [_TEXT, {"type": "array", "items": _TEXT}],
    }
    for_configs = {
        "type": "object",
        "properties": {"files": files, **own},
        "required": ["files"],
        "additionalProperties": False,
    }
    described = {
        "description": "What holds for some configs; later tables override earlier ones.",
        "type": "array",
        "items": for_configs,
    }
    return {
        "type": "object",
        "properties": {**own, FOR_CONFIGS: described},
        "additionalProperties": False,
    }


if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAME = "bevdiag.toml"
MAX_BYTES = 2**20
MAX_NUMBER = 10**18


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
    """Whether the file has the table; one that is no TOML is read for it, to say so."""
    try:
        text = read_part(project, MAX_BYTES)
    except InputError:
        return False
    if b"bevdiag" not in text:
        return False
    try:
        _, tables = _tables(project, text.decode("utf-8"))
    except (ConfigError, UnicodeDecodeError):
        return b"tool.bevdiag" in text
    tools = tables.get("tool")
    return isinstance(tools, dict) and "bevdiag" in tools


def read_policy(path: Path) -> PolicyFile:
    """Read the policies of a file.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or says what no policy can say.
    """
    text = _read(path)
    places, tables = _tables(path, text)
    reader = _Reader(path, text, places)
    for name in ("tool", "bevdiag") if path.name == "pyproject.toml" else ():
        tables = tables.get(name, {})
        if not isinstance(tables, dict):
            raise reader.error(name, "expected a table, [tool.bevdiag]")
    entries = tables.pop(FOR_CONFIGS, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise reader.error(FOR_CONFIGS, "expected [[...config]], a table for some configs")
    return PolicyFile(
        path=path,
        common=reader.policy(tables, (FOR_CONFIGS, *_NAMES)),
        special=tuple(reader.special(entry) for entry in entries),
    )


def _tables(path: Path, text: str) -> tuple[Mapping[str, Sequence[Place]], dict[str, Any]]:
    """Return where the keys of a TOML text stand, and its tables."""
    try:
        return scan_toml(text), tomllib.loads(text)
    except InputError as error:
        raise ConfigError(f"{path}: {error}: no policy") from error
    except (ValueError, RecursionError) as error:  # a ValueError also for an endless number
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


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
        return tuple(patterns), self.policy(entry, ("files", *_NAMES))

    def policy(self, table: Mapping[str, Any], allowed: tuple[str, ...]) -> Policy:
        for key in table:
            if key not in _NAMES:
                hint = did_you_mean(key, allowed)
                raise self.error(key, f"there is no setting of this name{hint}")
        return Policy(
            settings={
                key: self._setting(key, value) for key, value in table.items() if key not in _TABLES
            },
            assume={
                site: self._checked(site, count, _is_count(count) and count >= 0, "a count")
                for site, count in self._table(table, "assume", '{"SITE" = COUNT}')
            },
            ignore={
                code: self._reason(code, reason)
                for code, reason in self._table(table, "ignore", '{BEV305 = "why"}')
            },
        )

    def _setting(self, key: str, value: Any) -> Setting:
        if key == "batch_size":
            return self._checked(key, value, _is_count(value), "a whole number")
        text = self._checked(key, value, isinstance(value, str), "text in quotes").text
        return Setting(text, self._place(key, text))

    def _checked(self, key: str, value: object, is_right: bool, expected: str) -> Setting:
        if not is_right:
            raise self.error(key, f"expected {expected}, not {_shown(value)}")
        return Setting(str(value), self._place(key))

    def _reason(self, code: str, reason: object) -> Setting:
        if not isinstance(reason, str) or not reason.strip():
            raise self.error(code, "expected the reason, as text: why is it ignored here?")
        return Setting(reason.strip(), self._place(code))

    def _table(self, table: Mapping[str, Any], key: str, example: str) -> ItemsView[str, Any]:
        entries = table.get(key, {})
        if not isinstance(entries, dict):
            raise self.error(key, f"expected a table such as {example}")
        return entries.items()

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
