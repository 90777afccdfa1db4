"""After an error: the command that goes on from there."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from bevdiag.children import EXHAUSTED
from bevdiag.errors import ConfigError, InputError, NoVerdictError, OutputError, RepositoryError

_NAMED = ("bevdiag ", "pip install ")
"""What a sentence says that names the next command itself."""
_READS_CONFIGS = ("inspect", "fix", "fit", "compare", "preflight", "baseline")


def next_command(error: Exception, arguments: Sequence[str]) -> str:
    """Return the command; empty where the error names it already, or is a defect of bevdiag.

    Args:
        error: what ended the work.
        arguments: of the command line that it ended, without the name of the program.
    """
    if any(name in str(error) for name in _NAMED):
        return ""
    command = arguments[0] if arguments else ""
    again = shlex.join(["bevdiag", *arguments])
    if isinstance(error, RepositoryError):
        return f"BEVDIAG_DEBUG=1 {again}"
    if isinstance(error, OutputError):
        return again
    if EXHAUSTED in str(error):
        has_batch = any(word.startswith(("--batch", "--entry")) for word in arguments)
        return again if has_batch else f"{again} --batch-size 1"
    if isinstance(error, ConfigError):
        return _after_config(error, command, arguments)
    if isinstance(error, InputError):
        group = arguments[:2] if command in ("baseline", "scene") else arguments[:1]
        return shlex.join(["bevdiag", *(word for word in group if word[:1] != "-"), "--help"])
    if isinstance(error, NoVerdictError):
        return _after_no_verdict(command, arguments)
    return ""


def _after_config(error: ConfigError, command: str, arguments: Sequence[str]) -> str:
    place = error.location
    if place is not None and place.file.suffix == ".toml":
        return "bevdiag schema policy"
    config = str(place.file) if place is not None else _config(arguments)
    if command in _READS_CONFIGS and config:
        return shlex.join(["bevdiag", "check", config])
    return shlex.join(["bevdiag", command, "--help"])


def _after_no_verdict(command: str, arguments: Sequence[str]) -> str:
    config = _config(arguments)
    has_source = any(word.partition("=")[0] == "--source" for word in arguments)
    if command in _READS_CONFIGS and config and not has_source:
        return f"{shlex.join(['bevdiag', command, config])} --source DIR"
    if config:
        return shlex.join(["bevdiag", "check", config])
    return "bevdiag doctor"


def _config(arguments: Sequence[str]) -> str:
    return next((word for word in arguments if Path(word).suffix in (".yaml", ".yml")), "")
