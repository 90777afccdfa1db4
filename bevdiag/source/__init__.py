"""Traces the user's own OpenPCDet-style repository: their package, their model, their step.

Running a repository executes its code; it happens in a child process and only when asked for.
"""

from bevdiag.source.run import SourceTrace, read_settings, trace_source
from bevdiag.source.settings import SourceSettings, read_source_config

__all__ = ["SourceSettings", "SourceTrace", "read_settings", "read_source_config", "trace_source"]
