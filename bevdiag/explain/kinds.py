"""The kinds of failure, as data/kinds.yaml lists them: who it was, what it means, how it reads."""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

from bevdiag.rules.pages import Signature, signature

# Every repeat is bounded: a log may be anything, and takes no longer for that.
_SIZE = r"\d{1,15}(?:\.\d{0,6})?\s*(?:bytes|[KMGT]iB|B\b)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind.

    Attributes:
        name: as documents call it.
        who: refused or failed, as a sentence names it.
        says: what the text means and what helps; empty where the figures say it.
        texts: as on the rules' pages; such a text is quoted with its whole line.
        head: how a message about memory starts; a group is the size that was asked for.
        bare: what ends a process without a reason; it counts where nothing else was printed.
        refuses: whether it was asked for memory.
        predictable: whether its messages name a request of the step itself.
        follows: whether it follows from another process's failure; it counts where none is seen.
    """

    name: str
    who: str
    says: str = ""
    texts: tuple[Signature, ...] = ()
    head: re.Pattern[str] | None = None
    bare: re.Pattern[str] | None = None
    refuses: bool = False
    predictable: bool = False
    follows: bool = False


FAULT = Kind(name="fault", who="a fault that is not about memory")
"""A text of the rules' pages."""


@cache
def kinds() -> dict[str, Kind]:
    """Return all kinds by name."""
    written = resources.files("bevdiag.explain").joinpath("data", "kinds.yaml").read_text("utf-8")
    return {
        name: Kind(
            name=name,
            **values
            | {key: _any_of(values[key]) for key in ("head", "bare") if key in values}
            | {
                "texts": tuple(signature("", text) for text in values.get("texts", "").splitlines())
            },
        )
        for name, values in yaml.safe_load(written).items()
    }


def size_pattern(text: str) -> re.Pattern[str]:
    """Compile a pattern in which a blank is any white space and SIZE a captured size."""
    return re.compile(text.replace("SIZE", f"({_SIZE})").replace(" ", r"\s+"))


def _any_of(lines: str) -> re.Pattern[str]:
    either = "|".join(lines.splitlines())
    return re.compile(size_pattern(either).pattern, re.MULTILINE)
