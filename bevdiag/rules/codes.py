"""The table of findings: a stable code, a name that says the fault, and how much it matters.

A row's rule is the function of the same name in the module of its topic; its docstring is the page
that `bevdiag rule` prints. A new rule is a row here and a function there.
"""

from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from typing import Any

from bevdiag import rules
from bevdiag.errors import Location
from bevdiag.rules.finding import Confidence, Finding, Severity


class RuleStage(str, Enum):
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
        module: the module of bevdiag/rules/ that has the rule.
        stage: what the rule looks at, and so when it can run: the config alone, a traced step with
            the settings behind it, the traced step of any model, a repository's own code, the
            comments that silence findings, the environment, or a recorded state.
        stops: whether a step cannot run with this fault, where it is an error; none is traced then.
            A rule may say otherwise of one finding.
        has_fixes: whether edits that help are known: `<rule>_fixes` beside it (see finding.py).
        is_fixed: whether bevdiag traces the config as if the fault were fixed, and says so.
    """

    code: str
    name: str
    module: str
    severity: Severity
    stage: RuleStage
    confidence: Confidence = Confidence.CERTAIN
    stops: bool = False
    has_fixes: bool = False
    is_fixed: bool = False

    @property
    def function(self) -> str:
        """The name of the rule's function."""
        return self.name.replace("-", "_")


_ERROR, _WARNING, _INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
_LIKELY = Confidence.LIKELY
_CONFIG, _STEP, _TRACE, _MACHINE = (
    RuleStage.CONFIG,
    RuleStage.STEP,
    RuleStage.TRACE,
    RuleStage.ENVIRONMENT,
)

_ROWS = (
    Code("BEV001", "scalar-read-as-string", "keys_and_names", _WARNING, _CONFIG),
    Code("BEV002", "duplicate-key", "keys_and_names", _WARNING, _CONFIG),
    Code("BEV003", "ambiguous-scalar", "keys_and_names", _WARNING, _CONFIG),
    Code("BEV004", "unknown-key", "keys_and_names", _WARNING, _CONFIG, _LIKELY),
    Code("BEV006", "ignore-without-reason", "checks", _WARNING, RuleStage.IGNORES),
    Code("BEV007", "ignore-without-effect", "checks", _WARNING, RuleStage.IGNORES),
    Code("BEV008", "unknown-module", "keys_and_names", _ERROR, _CONFIG, stops=True),
    Code("BEV009", "data-path-missing", "point_data", _ERROR, _CONFIG),
    Code("BEV010", "point-feature-not-stored", "point_data", _ERROR, _CONFIG, stops=True),
    Code("BEV011", "sampled-points-mismatch", "point_data", _ERROR, _CONFIG, stops=True),
    Code("BEV101", "range-not-multiple-of-voxel", "grid", _WARNING, _CONFIG, stops=True),
    Code("BEV102", "depth-collapses-to-zero", "grid", _ERROR, _CONFIG, stops=True),
    Code("BEV103", "bev-not-divisible-by-stride", "grid", _ERROR, _CONFIG, stops=True),
    Code("BEV104", "sparse-shape-mismatch", "declared", _ERROR, _CONFIG, stops=True),
    Code("BEV105", "downsample-stride-unusable", "declared", _ERROR, _CONFIG, stops=True),
    Code("BEV106", "feature-map-stride-mismatch", "grid", _ERROR, _CONFIG),
    Code("BEV107", "window-height-mismatch", "declared", _ERROR, _CONFIG, stops=True),
    Code("BEV108", "anchor-stride-mismatch", "grid", _ERROR, _CONFIG, stops=True),
    Code("BEV109", "pillars-on-tall-grid", "grid", _ERROR, _CONFIG, stops=True),
    Code("BEV110", "camera-bounds-mismatch", "grid", _ERROR, _CONFIG, stops=True),
    Code("BEV201", "bev-channel-mismatch", "declared", _ERROR, _CONFIG, stops=True, is_fixed=True),
    Code("BEV202", "input-channel-mismatch", "declared", _ERROR, _CONFIG, stops=True),
    Code("BEV203", "height-flatten-blowup", "height", _ERROR, _STEP),
    Code("BEV204", "importance-channel-mismatch", "declared", _ERROR, _CONFIG, stops=True),
    Code("BEV205", "focal-supervision-channel", "declared", _ERROR, _CONFIG),
    Code("BEV206", "raw-points-without-features", "point_data", _ERROR, _CONFIG, stops=True),
    Code("BEV301", "over-budget", "budget", _ERROR, _TRACE, has_fixes=True),
    Code("BEV302", "budget-depends-on-values", "budget", _WARNING, _TRACE),
    Code("BEV303", "unbounded-dynamic-voxels", "holders", _INFO, _STEP, _LIKELY),
    Code("BEV304", "peak-dominated-by-one-block", "holders", _INFO, _TRACE),
    Code("BEV305", "padded-voxel-features", "holders", _WARNING, _STEP, has_fixes=True),
    Code("BEV306", "densified-volume", "height", _WARNING, _STEP),
    Code("BEV307", "focal-growth", "holders", _WARNING, _STEP, _LIKELY, has_fixes=True),
    Code("BEV308", "within-margin", "budget", _WARNING, _TRACE, _LIKELY),
    Code("BEV309", "attention-maps", "holders", _INFO, _TRACE),
    Code("BEV310", "dense-anchors", "holders", _WARNING, _STEP),
    Code("BEV311", "grown-since-baseline", "budget", _ERROR, RuleStage.BASELINE),
    Code("BEV401", "spconv-int32-bytes", "index_limits", _ERROR, _TRACE, _LIKELY),
    Code("BEV402", "spconv-64-bit-keys", "index_limits", _INFO, _TRACE),
    Code("BEV403", "convolution-beyond-32-bit", "index_limits", _WARNING, _TRACE),
    Code("BEV501", "amp-available", "switches", _INFO, _STEP, _LIKELY, has_fixes=True),
    Code("BEV502", "checkpoint-candidate", "switches", _INFO, _TRACE, _LIKELY, has_fixes=True),
    Code("BEV503", "cheaper-collapse", "height", _INFO, _STEP, _LIKELY, has_fixes=True),
    Code("BEV601", "parameters-without-gradient", "traced", _WARNING, _TRACE),
    Code("BEV602", "parameters-not-optimized", "traced", _WARNING, _TRACE),
    Code("BEV603", "copies-differ", "keys_and_names", _WARNING, _CONFIG),
    Code("BEV604", "unused-output", "traced", _INFO, _TRACE),
    Code("BEV605", "batch-size-not-read", "keys_and_names", _WARNING, _CONFIG),
    Code("BEV701", "numpy-2-with-old-cumm", "env_packages", _ERROR, _MACHINE),
    Code("BEV702", "import-fails", "env_packages", _ERROR, _MACHINE),
    Code("BEV703", "spconv-cumm-mismatch", "env_packages", _ERROR, _MACHINE),
    Code("BEV704", "no-spconv-for-python", "env_packages", _ERROR, _MACHINE),
    Code("BEV705", "driver-too-old", "env_gpu", _ERROR, _MACHINE),
    Code("BEV706", "spconv-for-another-cuda", "env_packages", _WARNING, _MACHINE),
    Code("BEV707", "no-kernels-for-gpu", "env_gpu", _ERROR, _MACHINE),
    Code("BEV708", "cudnn-without-64-bit-indices", "env_packages", _WARNING, _MACHINE),
    Code("BEV709", "pynvml-deprecated", "env_packages", _WARNING, _MACHINE),
    Code("BEV710", "gpu-memory-taken", "env_gpu", _WARNING, _MACHINE),
    Code("BEV711", "torch-without-cuda", "env_gpu", _ERROR, _MACHINE),
    Code("BEV712", "extension-for-another-torch", "env_packages", _ERROR, _MACHINE),
    Code("BEV901", "scalar-guessed", "traced", _WARNING, _STEP),
    Code("BEV902", "repository-stubbed", "traced", _INFO, RuleStage.SOURCE),
)

CODES = {row.code: row for row in _ROWS}


def rule_of(row: Code, suffix: str = "") -> Any:
    """Return the rule's function; its module is imported by name, for the table is the only list.

    Args:
        row: the rule's.
        suffix: "_fixes" for the function that knows edits.
    """
    return getattr(import_module(f"{rules.__name__}.{row.module}"), row.function + suffix)


def finding(
    code: str,
    message: str,
    *,
    key: str = "",
    location: Location | None = None,
    detail: tuple[str, ...] = (),
    module: str = "",
    severity: Severity | None = None,
    confidence: Confidence | None = None,
    command: str = "",
    stops: bool | None = None,
) -> Finding:
    """Make a finding of that code; without a `location` it gets that of its `key` in the config."""
    row = CODES[code]
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
