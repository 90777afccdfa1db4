"""The formats of checked configs, each with its renderer, imported when it is asked for."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bevdiag.diagnose.checked import Check

_RENDERERS = {
    "sarif": "bevdiag.report.sarif",
    "junit": "bevdiag.report.junit",
    "github": "bevdiag.report.github",
    "markdown": "bevdiag.report.markdown",
}
"""By format, the module that has a function of the format's name."""

CHECK_FORMATS = ("text", "json", *_RENDERERS)
MEMORY_VIZ = "memory-viz"
INSPECT_FORMATS = (*CHECK_FORMATS, MEMORY_VIZ)


def renderer(output_format: str) -> "Callable[[Sequence[Check]], str]":
    """What writes checks in one of the formats that are for machines alone."""
    render: Callable[[Sequence[Check]], str] = getattr(
        import_module(_RENDERERS[output_format]), output_format
    )
    return render
