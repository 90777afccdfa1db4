"""Pairs of configs: bad*.yaml has one fault, and fixed*.yaml is the same without it.

A bad config says what it expects at the end of the blamed line: `# BEV101`, or `# BEV101 at 14`
where the column is not that of the line's first word, or anywhere: `# BEV101 at 3:14`. A config
may say how to inspect it on its first line:
`# options: budget_bytes=1000000000 optimizer=adam_onecycle`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bevdiag.config import read_document
from bevdiag.memory import verdict
from bevdiag.prediction.inspect import inspect
from bevdiag.prediction.options import InspectOptions
from bevdiag.rules.checks import check_config, sifted
from bevdiag.rules.codes import CODES, RuleStage
from bevdiag.rules.finding import Finding

from ..small_model import _few_gpus, _one_thread, evidence, small  # noqa: F401

FOLDER = Path(__file__).parent

Place = tuple[str, int, int]
"""Code, line and column."""


@dataclass(frozen=True)
class Pair:
    """The two configs of one case."""

    code: str
    bad: Path

    @property
    def fixed(self) -> Path:
        return self.bad.with_name(self.bad.name.replace("bad", "fixed", 1))

    def __str__(self) -> str:
        return f"{self.code}{self.bad.stem.removeprefix('bad')}"


def pairs() -> list[Pair]:
    """All pairs of the folder."""
    return [Pair(bad.parent.name, bad) for bad in sorted(FOLDER.glob("BEV*/bad*.yaml"))]


_EXPECTED = re.compile(
    r"(?P<text>.*?)# (?P<code>BEV\d{3})(?: at (?:(?P<line>\d+):)?(?P<column>\d+))?"
)


def expected(path: Path) -> list[Place]:
    """What the comments of a bad config announce."""
    places = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        match = _EXPECTED.fullmatch(line)
        if match:
            text = match["text"]
            first = len(text) - len(text.lstrip(" -")) + 1
            place = int(match["line"] or number), int(match["column"] or first)
            places.append((match["code"], *place))
    return places


def _options(path: Path) -> InspectOptions:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    words = first.removeprefix("# options:").split() if first.startswith("# options:") else []
    wanted: dict[str, Any] = {
        name: yaml.safe_load(value) for name, _, value in (word.partition("=") for word in words)
    }
    assert wanted.keys() <= {field.name for field in fields(InspectOptions)}
    return replace(InspectOptions(device="meta", remedies=False), **wanted)


def found(path: Path, code: str) -> tuple[Finding, ...]:
    """What is found in the config: of a step's rule its own findings, else everything."""
    options = _options(path)
    if CODES[code].stage in (RuleStage.STEP, RuleStage.TRACE):
        findings = inspect(path, options, lambda what, share: None).findings
        return tuple(finding for finding in findings if finding.code == code)
    document = read_document(path)
    data_root = None if options.data_root is None else path.parent / options.data_root
    return sifted(check_config(path, document, data_root=data_root), document, RuleStage.CONFIG)[0]


def places(findings: tuple[Finding, ...]) -> list[Place]:
    """Code, line and column of every finding; 0 where it points at nothing."""
    return [
        (f.code, f.location.line if f.location else 0, f.location.column if f.location else 0)
        for f in findings
    ]


@pytest.fixture(params=pairs(), ids=str)
def pair(request: pytest.FixtureRequest) -> Pair:
    return request.param


@pytest.fixture(autouse=True, scope="session")
def _no_other_gpus() -> Iterator[None]:
    """No rule looks at how the step would fit GPUs that nobody named."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verdict, "all_gpus", tuple)
        yield
