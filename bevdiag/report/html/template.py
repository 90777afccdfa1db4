"""A template, its style and its scripts as one document that a browser may trust.

Names in a report come from configs and repositories. Jinja2 escapes them for HTML, `printable`
takes out what acts on a reader's eyes, and the policy lets nothing run but the scripts that this
module puts in, by their hashes.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from bevdiag.errors import Location
from bevdiag.memory.verdict import Verdict
from bevdiag.report.amounts import (
    UNKNOWN,
    format_bytes,
    format_count,
    format_difference,
    format_shape,
)
from bevdiag.report.printable import printable
from bevdiag.report.text.prose import VERDICT_WORDS
from bevdiag.report.text.wiring_table import module_name
from bevdiag.rules.finding import Finding, Severity

KINDS = {
    Severity.ERROR: "bad",
    Severity.WARNING: "warn",
    Severity.INFO: "muted",
    Verdict.FITS: "good",
    Verdict.OVER: "bad",
    Verdict.DEPENDS: "warn",
    Verdict.UNKNOWN: "warn",
    Verdict.NO_BUDGET: "muted",
}
"""The style sheet's class for each."""

_ASSETS = "assets"
_LONG = re.compile(r"[\w./:=-]{24,}")
_SEAM = re.compile(r"([._/:=])(?=[^\W\d_])")


def render_page(template: str, scripts: Sequence[str], **values: Any) -> str:
    """Render the template as HTML, with the style sheet and the scripts inlined."""
    style = _asset("style.css")
    script = "\n".join(_asset(name) for name in scripts)
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(style),
            script=Markup(script),
            policy=_policy(style, script),
            **values,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bevdiag.report.html", _ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "bytes": format_bytes,
        "channels": lambda number: UNKNOWN if number is None else str(number),
        "count": format_count,
        "difference": format_difference,
        "kind": KINDS.__getitem__,
        "module": module_name,
        "parts": _parts,
        "place": Location.shown,
        "shape": format_shape,
        "where": _where,
        "word": lambda verdict: VERDICT_WORDS[verdict][0],
    }
    return environment


def _where(finding: Finding) -> str:
    """Say where a finding points: a place or a module, and a key."""
    place = finding.module if finding.location is None else str(finding.location.shown())
    return " ".join(part for part in (place, finding.key) if part)


def _parts(text: str) -> Markup:
    """Text whose long names, such as dotted keys, may break between their parts."""
    return Markup(_LONG.sub(_with_seams, str(escape(printable(text)))))


def _with_seams(word: re.Match[str]) -> str:
    return _SEAM.sub(r"\1<wbr>", word[0])


def _finalize(value: Any) -> Any:
    return printable(value) if type(value) is str else value


def _asset(name: str) -> str:
    return (files("bevdiag.report.html") / _ASSETS / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest())
    return f"'sha256-{digest.decode('ascii')}'"
