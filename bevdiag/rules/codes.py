"""The table of findings: a stable code, a name that says the fault, and how much it matters.

A row's rule is the module of the same name in bevdiag/rules/; its docstring is the page
that `bevdiag rule` prints. A new rule is a row here and a file there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from bevdiag.config import Document, NoteCode, ReadingNote
from bevdiag.errors import Location
from bevdiag.rules.finding import Confidence, Finding, Severity


class Stage(str, Enum):
    """What a rule looks at; rules of the first three are run by the table."""

    CONFIG = "config"
    STEP = "step"
    TRACE = "trace"
    SOURCE = "source"
    IGNORES = "ignores"
    ENVIRONMENT = "environment"
    BASELINE = "baseline"


@dataclass(frozen=True, slots=True)
class Code:
    """One row of the table.

    Attributes:
        stage: what the rule looks at, and so when it can run: the config alone, a traced step with
            the settings behind it, the traced step of any model, a repository's own code, the
            comments that silence findings, the environment, or a recorded state.
        stops: whether a step cannot run with this fault, where it is an error; none is traced then.
            A rule may say otherwise of one finding.
        has_fixes: whether its rule knows edits that help, as `fixes` (see fix.py).
        is_traced_fixed: whether bevdiag traces the config as if the fault were fixed, and says so.
    """

    code: str
    name: str
    severity: Severity
    confidence: Confidence
    stage: Stage
    stops: bool = False
    has_fixes: bool = False
    is_traced_fixed: bool = False

    @property
    def module(self) -> str:
        """The name of the rule's module."""
        return self.name.replace("-", "_")


_ERROR, _WARNING, _INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
_CERTAIN, _LIKELY = Confidence.CERTAIN, Confidence.LIKELY
_CONFIG, _STEP, _TRACE = Stage.CONFIG, Stage.STEP, Stage.TRACE

_ROWS = (
    Code("BEV001", "scalar-read-as-string", _WARNING, _CERTAIN, _CONFIG),
    Code("BEV002", "duplicate-key", _WARNING, _CERTAIN, _CONFIG),
    Code("BEV003", "ambiguous-scalar", _WARNING, _CERTAIN, _CONFIG),
    Code("BEV004", "unknown-key", _WARNING, _LIKELY, _CONFIG),
    Code("BEV006", "ignore-without-reason", _WARNING, _CERTAIN, Stage.IGNORES),
    Code("BEV007", "ignore-without-effect", _WARNING, _CERTAIN, Stage.IGNORES),
    Code("BEV008", "unknown-module", _ERROR, _CERTAIN, _CONFIG, stops=True),
    Code("BEV009", "data-path-missing", _ERROR, _CERTAIN, _CONFIG),
    Code("BEV010", "point-feature-not-stored", _ERROR, _CERTAIN, _CONFIG, stops=True),
    Code("BEV011", "sampled-points-mismatch", _ERROR, _CERTAIN, _CONFIG, stops=True),
    Code("BEV101", "range-not-multiple-of-voxel", _WARNING, _CERTAIN, _CONFIG, stops=True),
    Code("BEV102", "depth-collapses-to-zero", _ERROR, _CERTAIN, _CONFIG, stops=True),
    Code("BEV103", "bev-not-divisible-by-stride", _ERROR, _CERTAIN, _CONFIG, stops=True),
    Code("BEV104", "sparse-shape-mismatch", _ERROR, _CERTAIN, _CONFIG, stops=True),
    Code("BEV105", "downsample-stride-unusable", _ERROR, _CERTAIN, _CONFIG, stops=True),
    Code("BEV106", "feature-map-stride-mismatch", _ERROR, _CERTAIN, _CONFIG),
    Code("BEV107", "window-height-mismatch", _ERROR, _CERTAIN, _CONFIG, stops=True),
    Code("BEV108", "anchor-stride-mismatch", _ERROR, _CERTAIN, _CONFIG, stops=True),
    Code("BEV109", "pillars-on-tall-grid", _ERROR, _CERTAIN, _CONFIG, stops=True),
    Code("BEV110", "camera-bounds-mismatch", _ERROR, _CERTAIN, _CONFIG, stops=True),
    Code(
        "BEV201",
        "bev-channel-mismatch",
        _ERROR,
        _CERTAIN,
        _CONFIG,
        stops=True,
        is_traced_fixed=True,
    ),
    Code("BEV202", "input-channel-mismatch", _ERROR, _CERTAIN, _CONFIG, stops=True),
    Code("BEV203", "height-flatten-blowup", _ERROR, _CERTAIN, _STEP),
    Code("BEV204", "importance-channel-mismatch", _ERROR, _CERTAIN, _CONFIG, stops=True),
    Code("BEV205", "focal-supervision-channel", _ERROR, _CERTAIN, _CONFIG),
    Code("BEV206", "raw-points-without-features", _ERROR, _CERTAIN, _CONFIG, stops=True),
    Code("BEV301", "over-budget", _ERROR, _CERTAIN, _TRACE, has_fixes=True),
    Code("BEV302", "budget-depends-on-values", _WARNING, _CERTAIN, _TRACE),
    Code("BEV303", "unbounded-dynamic-voxels", _INFO, _LIKELY, _STEP),
    Code("BEV304", "peak-dominated-by-one-block", _INFO, _CERTAIN, _TRACE),
    Code("BEV305", "padded-voxel-features", _WARNING, _CERTAIN, _STEP, has_fixes=True),
    Code("BEV306", "densified-volume", _WARNING, _CERTAIN, _STEP),
    Code("BEV307", "focal-growth", _WARNING, _LIKELY, _STEP, has_fixes=True),
    Code("BEV308", "within-margin", _WARNING, _LIKELY, _TRACE),
    Code("BEV309", "attention-maps", _INFO, _CERTAIN, _TRACE),
    Code("BEV310", "dense-anchors", _WARNING, _CERTAIN, _STEP),
    Code("BEV311", "grown-since-baseline", _ERROR, _CERTAIN, Stage.BASELINE),
    Code("BEV401", "spconv-int32-bytes", _ERROR, _LIKELY, _TRACE),
    Code("BEV402", "spconv-64-bit-keys", _INFO, _CERTAIN, _TRACE),
    Code("BEV403", "convolution-beyond-32-bit", _WARNING, _CERTAIN, _TRACE),
    Code("BEV501", "amp-available", _INFO, _LIKELY, _STEP, has_fixes=True),
    Code("BEV502", "checkpoint-candidate", _INFO, _LIKELY, _TRACE, has_fixes=True),
    Code("BEV503", "cheaper-collapse", _INFO, _LIKELY, _STEP, has_fixes=True),
    Code("BEV601", "parameters-without-gradient", _WARNING, _CERTAIN, _TRACE),
    Code("BEV602", "parameters-not-optimized", _WARNING, _CERTAIN, _TRACE),
    Code("BEV603", "copies-differ", _WARNING, _CERTAIN, _CONFIG),
    Code("BEV604", "unused-output", _INFO, _CERTAIN, _TRACE),
    Code("BEV605", "batch-size-not-read", _WARNING, _CERTAIN, _CONFIG),
    Code("BEV701", "numpy-2-with-old-cumm", _ERROR, _CERTAIN, Stage.ENVIRONMENT),
    Code("BEV702", "import-fails", _ERROR, _CERTAIN, Stage.ENVIRONMENT),
    Code("BEV703", "spconv-cumm-mismatch", _ERROR, _CERTAIN, Stage.ENVIRONMENT),
    Code("BEV704", "no-spconv-for-python", _ERROR, _CERTAIN, Stage.ENVIRONMENT),
    Code("BEV705", "driver-too-old", _ERROR, _CERTAIN, Stage.ENVIRONMENT),
    Code("BEV706", "spconv-for-another-cuda", _WARNING, _CERTAIN, Stage.ENVIRONMENT),
    Code("BEV707", "no-kernels-for-gpu", _ERROR, _CERTAIN, Stage.ENVIRONMENT),
    Code("BEV708", "cudnn-without-64-bit-indices", _WARNING, _CERTAIN, Stage.ENVIRONMENT),
    Code("BEV709", "pynvml-deprecated", _WARNING, _CERTAIN, Stage.ENVIRONMENT),
    Code("BEV710", "gpu-memory-taken", _WARNING, _CERTAIN, Stage.ENVIRONMENT),
    Code("BEV711", "torch-without-cuda", _ERROR, _CERTAIN, Stage.ENVIRONMENT),
    Code("BEV712", "extension-for-another-torch", _ERROR, _CERTAIN, Stage.ENVIRONMENT),
    Code("BEV901", "scalar-guessed", _WARNING, _CERTAIN, _STEP),
    Code("BEV902", "repository-stubbed", _INFO, _CERTAIN, Stage.SOURCE),
)

CODES = {row.code: row for row in _ROWS}


def finding(
    code: str,
    message: str,
    *,
    document: Document | None = None,
    key: str = "",
    location: Location | None = None,
    detail: tuple[str, ...] = (),
    module: str = "",
    severity: Severity | None = None,
    confidence: Confidence | None = None,
    command: str = "",
    stops: bool | None = None,
) -> Finding:
    """Make a finding of that code, at where `key` stands in `document`, or at `location`."""
    row = CODES[code]
    if document is not None and key:
        location = document.key_location(key)
    return Finding(
        code=code,
        severity=severity or row.severity,
        confidence=confidence or row.confidence,
        message=message,
        detail=detail,
        key=key,
        location=location,
        module=module,
        command=command,
        stops=row.stops if stops is None else stops,
    )


def noted(code: str, kind: NoteCode, notes: Sequence[ReadingNote]) -> Iterator[Finding]:
    """Yield a finding of that code for every note of that kind."""
    for note in notes:
        if note.code is kind:
            yield finding(code, note.message, key=note.key, location=note.location)
