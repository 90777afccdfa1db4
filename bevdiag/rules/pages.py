"""The page of every rule, read from its function's docstring without importing the module.

A docstring is one sentence, then the parts named in `PARTS`, each a line that ends in a colon and
an indented text. A rule whose fault shows in a text of its own has that too, as `PRINTED`: what the
training prints, in which # is a number, ... is anything short, <#> and <...> what the finding names
too, and "(in backbone_2d)" at the end the part of the detector whose code says so.
"""

import ast
from dataclasses import dataclass
from functools import cache
from inspect import cleandoc
from pathlib import Path
from textwrap import dedent

from bevdiag import rules
from bevdiag.config.nearest import did_you_mean
from bevdiag.errors import InputError
from bevdiag.rules.codes import CODES, Code

PARTS = ("What it means", "Why it happens", "How to fix", "Seen in")
"""The fixed parts of a page. The last names a real thread that the rule would have saved."""
PRINTED = "What is printed"
"""The part that only some pages have: the texts by which `bevdiag explain` knows the fault."""


@dataclass(frozen=True, slots=True)
class RulePage:
    """One rule, explained: a sentence, and the text of each of its parts, paragraphs in it."""

    code: Code
    summary: str
    parts: dict[str, tuple[str, ...]]


def find_code(name: str) -> Code:
    """Find the row of a code such as BEV203, or of a rule's name; letter case is no difference.

    Raises:
        InputError: there is none; the sentence names the nearest.
    """
    by_name = {key: row for row in CODES.values() for key in (row.code, row.name.upper())}
    row = by_name.get(name.upper())
    if row is None:
        known = [key for row in CODES.values() for key in (row.code, row.name)]
        hint = did_you_mean(name, known)
        raise InputError(f"there is no rule {name!r}{hint or ': bevdiag rule lists all'}")
    return row


@cache
def rule_page(code: str) -> RulePage:
    """Return the page of the rule with that code.

    Raises:
        ValueError: the docstring lacks one of the parts, or has them in another order.
    """
    row = CODES[code]
    (folder,) = rules.__path__
    functions = _functions(Path(folder) / f"{row.module}.py")
    docstring = ast.get_docstring(functions[row.function], clean=True) or ""
    summary, _, rest = docstring.partition("\n")
    parts: dict[str, list[str]] = {}
    for line in rest.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            parts[line[:-1]] = []
        elif line.strip() or parts:
            parts[next(reversed(parts))].append(line)
    if tuple(name for name in parts if name != PRINTED) != PARTS:
        raise ValueError(f"{row.function}: its docstring has the parts {list(parts)}")
    return RulePage(row, summary, {name: _paragraphs(lines) for name, lines in parts.items()})


@cache
def _functions(module: Path) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def _paragraphs(lines: list[str]) -> tuple[str, ...]:
    text = cleandoc(dedent("\n".join(lines)))
    return tuple(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
