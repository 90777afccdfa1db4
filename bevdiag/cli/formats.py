"""The formats of checked configs, each with its renderer, imported when it is asked for."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bevdiag.diagnose.checked import Check

_RENDERERS = {
    "json": "bevdiag.report.preflight_json:preflight_json",
    "sarif": "bevdiag.report.sarif:sarif",
    "junit": "bevdiag.report.junit:junit",
    "github": "bevdiag.report.github:github",
    "markdown": "bevdiag.report.markdown:markdown",
}
"""By format, the module and its function."""

MACHINE_FORMATS = tuple(_RENDERERS)
CHECK_FORMATS = ("text", *MACHINE_FORMATS)
MEMORY_VIZ = "memory-viz"
INSPECT_FORMATS = (*CHECK_FORMATS, MEMORY_VIZ)


def renderer(output_format: str) -> "Callable[[Sequence[Check]], str]":
    """What writes checks in one of the formats for machines."""
    module, function = _RENDERERS[output_format].split(":")
    render: Callable[[Sequence[Check]], str] = getattr(import_module(module), function)
    return render
