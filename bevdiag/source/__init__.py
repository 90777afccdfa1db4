"""Traces the user's own OpenPCDet-style repository: their package, their model, their step.

Running a repository executes its code; it happens in a child process and only when asked for.
"""

from bevdiag.source.run import read_settings, trace_step
from bevdiag.source.saved_batch import SavedBatch, read_saved_batch
from bevdiag.source.settings import SourceSettings, read_source_config

__all__ = [
    "SavedBatch",
    "SourceSettings",
    "read_saved_batch",
    "read_settings",
    "read_source_config",
    "trace_step",
]
