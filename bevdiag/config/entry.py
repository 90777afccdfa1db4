"""Where a user's own function stands that gives model, batch and loss; nothing of it is run."""

import ast
from dataclasses import dataclass
from pathlib import Path

from bevdiag.config.nearest import did_you_mean
from bevdiag.errors import InputError
from bevdiag.files.reading import read_file

_MOST_BYTES = 1 << 24
_FORM = "write it as FILE.py:function"


@dataclass(frozen=True, slots=True)
class EntryFile:
    """A function in a file.

    Attributes:
        takes_config: whether it can be called with the path of a config.
        needs_config: whether it cannot be called without one.
    """

    path: Path
    function: str
    takes_config: bool
    needs_config: bool

    def __str__(self) -> str:
        return f"{self.path}:{self.function}"


def read_entry(text: str) -> EntryFile:
    """Find the function that a text such as `step.py:make` names.

    Raises:
        InputError: there is no such file or no such function in it, or it asks for more than the
            path of a config.
    """
    name, colon, function = text.rpartition(":")
    path = Path(name)
    if not colon or path.suffix != ".py" or not function.isidentifier():
        raise InputError(f"{text!r} names no function: {_FORM}")
    try:
        tree = ast.parse(read_file(path, _MOST_BYTES), filename=name)
    except (SyntaxError, ValueError) as error:
        raise InputError(f"{path}: is no Python that can be read: {error}") from error
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if function not in functions:
        has = f"; it has {', '.join(functions)}" if functions else ""
        hint = did_you_mean(function, functions)
        raise InputError(f"{path}: defines no function {function}{hint}{has}")
    found = functions[function]
    positional = [*found.args.posonlyargs, *found.args.args]
    needed = len(positional) - len(found.args.defaults)
    by_name = zip(found.args.kwonlyargs, found.args.kw_defaults, strict=True)
    named = [argument for argument, default in by_name if default is None]
    if needed > 1 or named:
        asked = ", ".join(argument.arg for argument in (*positional[:needed], *named))
        raise InputError(
            f"{path}:{found.lineno}: {function} asks for {asked}: it gets the path of the config "
            "or nothing, so give the others defaults"
        )
    return EntryFile(path, function, takes_config=bool(positional), needs_config=needed == 1)
