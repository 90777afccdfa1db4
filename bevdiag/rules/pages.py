"""The page of every rule, read from its function's docstring without importing the module.

A docstring is one sentence, then the parts named in `PARTS`, each a title, a colon and a text whose
further lines are indented. A rule whose fault shows in texts of its own has those too, as
`PRINTED`, one a line: what the training prints, in which # is a number, ... is anything short, <#>
and <...> what the finding names too, and "(in backbone_2d)" at the end the part of the detector
whose code says so. A thread is written owner/name#12; its page adds the address.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from bevdiag import rules
from bevdiag.config.nearest import did_you_mean
from bevdiag.errors import InputError
from bevdiag.rules.codes import CODES, Code

PARTS = ("What it means", "Why it happens", "How to fix", "Seen in")
"""The fixed parts of a page. The last names a real thread that the rule would have saved."""
PRINTED = "What is printed"
"""The part that only some pages have: the texts by which `bevdiag explain` knows the fault."""
_TITLE = re.compile(r"^(\w[\w ]+):", re.MULTILINE)
_NEW_LINE = re.compile(r"\n {4}(?! )")
_THREAD = re.compile(r"([\w.-]+/[\w.-]+)#(\d+)(?=:| and)")


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
    _, *pieces = _TITLE.split(rest)
    parts = {
        title: tuple(_texts(title, body))
        for title, body in zip(pieces[::2], pieces[1::2], strict=True)
    }
    if tuple(name for name in parts if name != PRINTED) != PARTS:
        raise ValueError(f"{row.function}: its docstring has the parts {list(parts)}")
    return RulePage(row, summary, parts)


def _texts(title: str, body: str) -> Iterator[str]:
    for text in _NEW_LINE.split(body) if title == PRINTED else (body,):
        if words := " ".join(text.split()):
            yield _THREAD.sub(r"\1#\2 (https://github.com/\1/issues/\2)", words)


@cache
def _functions(module: Path) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


_PART = re.compile(r"(.+) \(in (\w+)\)")
_HOLES = re.compile(r"<#>|<\.\.\.>|#|\.\.\.| ")
# Every repeat is bounded: a log may be anything, and takes no longer for that.
_FILLINGS = {
    "<#>": r"(\d{1,15})",
    "<...>": r"([^\n']{1,200}?)",
    "#": r"\d{1,15}",
    "...": r"[^\n]{0,200}?",
    " ": r"\s{1,8}",
}


@dataclass(frozen=True, slots=True)
class Signature:
    """A text by which a fault is known.

    Attributes:
        code: the rule that looks for the fault.
        part: the detector's child whose code prints it, empty where any may.
        pattern: the text, with holes.
        word: its longest word in small letters; what lacks it has no match.
    """

    code: str
    part: str
    pattern: re.Pattern[str]
    word: str

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        """Every match. Most texts lack the word, which is found out many times sooner."""
        return self.pattern.finditer(text) if self.word in _in_small_letters(text) else iter(())


@lru_cache(maxsize=1)
def _in_small_letters(text: str) -> str:
    return text.lower()


@cache
def signatures() -> tuple[Signature, ...]:
    """Return the signatures of all rules, in the order of the table."""
    return tuple(
        signature(code, text) for code in CODES for text in rule_page(code).parts.get(PRINTED, ())
    )


def named_in(code: str, text: str) -> tuple[str, ...]:
    """Return the numbers and names in the text that a finding of the rule names too, if any."""
    found = [one.pattern.search(text) for one in signatures() if one.code == code]
    return max((match.groups() for match in found if match), key=len, default=())


def codes_for(text: str, part: str | None) -> tuple[str, ...]:
    """Return the rules that the text speaks of, each once, in the order of the table.

    Args:
        text: what was printed.
        part: the detector's child that was running, empty where it was none of them, None where
            nothing tells. What any part may print counts where none prints it there; what another
            part prints does not.
    """
    found = [one for one in signatures() if one.pattern.search(text)]
    agreeing = [one for one in found if part in (None, one.part)] or [
        one for one in found if not one.part
    ]
    return tuple(dict.fromkeys(one.code for one in agreeing))


def signature(code: str, text: str) -> Signature:
    """Read a text as the pages write it, with "(in PART)" at its end if only PART prints it."""
    match = _PART.fullmatch(text)
    words, part = (match[1], match[2]) if match else (text, "")
    word = max(_HOLES.split(words), key=len).lower()
    return Signature(code, part, re.compile("".join(_pattern(words)), re.IGNORECASE), word)


def _pattern(words: str) -> Iterator[str]:
    end = 0
    for hole in _HOLES.finditer(words):
        yield re.escape(words[end : hole.start()])
        yield _FILLINGS[hole[0]]
        end = hole.end()
    yield re.escape(words[end:])
