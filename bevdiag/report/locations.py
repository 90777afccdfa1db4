"""Where in which file, as a reader on any machine can follow it."""

import os
from pathlib import Path
from urllib.parse import quote

from bevdiag.errors import Location


def shown_location(location: Location) -> Location:
    """Return the location with its file as seen from the working directory, if below that."""
    if not location.file.is_absolute():
        return location
    try:
        relative = Path(os.path.relpath(location.file))
    except FileNotFoundError:  # the working directory is gone
        return location
    if relative.parts[:1] == ("..",):
        return location
    return Location(relative, location.line, location.column)


def posix_uri(path: str) -> str:
    """Write a path as a URI reference: relative from the working directory if it lies below."""
    shown = shown_location(Location(Path(path), 1, 1)).file
    return shown.as_uri() if shown.is_absolute() else quote(shown.as_posix())


def module_or_phase(module: str, phase: str) -> str:
    """Name the module that an operation belongs to; outside of all, the part of the step."""
    outside = {
        "forward": "the loss",
        "backward": "the backward pass of the loss",
        "optimizer": "the optimizer",
        "load": "the loading of the model",
    }
    return module or outside.get(phase, "the training step itself")
