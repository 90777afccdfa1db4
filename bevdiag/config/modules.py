"""The check of every module's NAME, before anything else of MODEL is looked at."""

from collections.abc import Iterable
from pathlib import Path

from bevdiag.config import tree
from bevdiag.config.around import is_own_module, repository_of
from bevdiag.config.catalogue import DETECTOR, PUBLISHED, UNMODELLED_VALUES, built_names
from bevdiag.config.nearest import did_you_mean, slip_of
from bevdiag.config.tree import Node, Scalar, Section, describe
from bevdiag.errors import BevdiagError, ConfigError, NoVerdictError


def check_modules(root: Section) -> None:
    """Check that bevdiag builds every module that MODEL names, with the options that it has.

    Raises:
        ConfigError: for a NAME that is missing or that no known code base has.
        NoVerdictError: for modules that OpenPCDet has and bevdiag does not build, all of them
            named, and for options of theirs that bevdiag does not model.
    """
    model = root.entries.get("MODEL")
    if not isinstance(model, Section):
        found = "is missing" if model is None else f"expected a section, found {describe(model)}"
        where = root.location if model is None else model.location
        raise ConfigError(found, location=where, key="MODEL")
    unmodelled: list[tuple[Node, str, str]] = []
    for slot in PUBLISHED:
        path = ("MODEL", slot) if slot == DETECTOR else ("MODEL", slot, "NAME")
        section = model.entries.get(slot)
        # CenterPoint's template skips a module whose section is missing or empty.
        is_null = isinstance(section, Scalar) and section.value is None
        if slot != DETECTOR and (section is None or is_null):
            continue
        name_node = tree.find(root, path)
        name = _name(root, path, name_node)
        if name in built_names(slot):
            continue
        if name_node is None or name not in PUBLISHED[slot]:
            raise _unknown(root, path, slot, name)
        unmodelled.append((name_node, tree.dotted(path), name))
    if unmodelled:
        raise _not_modelled(unmodelled)
    for option, (is_foreign, what) in UNMODELLED_VALUES.items():
        node = tree.find(root, option)
        if node is not None and is_foreign(tree.plain(node)):
            message = f"{node.location}: {tree.dotted(option)}: bevdiag does not model {what}"
            raise NoVerdictError(message)


def _name(root: Section, path: tree.Path, node: Node | None) -> str:
    key = tree.dotted(path)
    if node is None:
        where = tree.descend(root, path)[0].location
        raise ConfigError("is missing: it says which module to build", location=where, key=key)
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        message = f"expected the name of a module, found {describe(node)}"
        raise ConfigError(message, location=node.location, key=key)
    return node.value


def _unknown(root: Section, path: tree.Path, slot: str, name: str) -> BevdiagError:
    """Return the error of a name that is a slip, or that only the user's repository can have."""
    built = built_names(slot)
    known = {*built, *PUBLISHED[slot]}
    where = tree.descend(root, path)[0].location
    if is_own_module(where.file, name) or not is_slip(where.file, name, known):
        return NoVerdictError(
            f"{where}: {tree.dotted(path)}: OpenPCDet has no module {name!r}: if it is your "
            "repository's own, --source DIR runs its code"
        )
    builds = ", ".join(built) or "no module of this kind"
    message = f"unknown module {name!r}{did_you_mean(name, known) or '.'} bevdiag builds: {builds}"
    return ConfigError(message, location=where, key=tree.dotted(path))


def is_slip(file: Path, name: str, known: Iterable[str]) -> bool:
    """Whether an unknown module's name is wrong for certain, rather than a fork's own.

    In a repository that does not have it, it is; elsewhere a known name is all but the same.
    """
    return repository_of(file) is not None or slip_of(name, known) is not None


def _not_modelled(unmodelled: list[tuple[Node, str, str]]) -> NoVerdictError:
    named = ", ".join(f"{name} ({key})" for _, key, name in unmodelled)
    plural = "is an OpenPCDet module" if len(unmodelled) == 1 else "are OpenPCDet modules"
    return NoVerdictError(
        f"{unmodelled[0][0].location}: {named} {plural} that bevdiag does not model"
    )
