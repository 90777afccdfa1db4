"""``--set A.B=value``: single keys of the merged config replaced from the command line."""

from collections.abc import Sequence
from pathlib import Path

from bevdiag.config import tree
from bevdiag.config.bases import BASE_KEY
from bevdiag.config.nearest import did_you_mean
from bevdiag.config.reader import read_value
from bevdiag.config.tree import Listing, Node, Section, describe
from bevdiag.errors import ConfigError, Location

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
