"""The entry point: from arguments to an exit code, with one sentence for everything that fails."""

import atexit
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from typer.core import TyperGroup

from bevdiag import __version__
from bevdiag.children import EXHAUSTED
from bevdiag.cli.baseline import baseline_app
from bevdiag.cli.calibrate import calibrate_command
from bevdiag.cli.check import check_command
from bevdiag.cli.compare import compare_command
from bevdiag.cli.explain import doctor_command, explain_command
from bevdiag.cli.fix import fit_command, fix_command
from bevdiag.cli.inspect import inspect_command
from bevdiag.cli.output import STDOUT, flush_stdout, say, say_error, write_output
from bevdiag.cli.preflight import preflight_command
from bevdiag.cli.reference import gpus_command, init_command, rule_command, schema_command
from bevdiag.cli.scene import scene_app
from bevdiag.cli.streams import check_limits, replace_missing_streams
from bevdiag.cli.validate import validate_command
from bevdiag.errors import (
    ConfigError,
    ExitCode,
    InputError,
    NoVerdictError,
    OutputError,
    RepositoryError,
)
from bevdiag.files.known import forget

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
    again = _command(["bevdiag", *arguments])
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
        return _command(["bevdiag", *(word for word in group if word[:1] != "-"), "--help"])
    if isinstance(error, NoVerdictError):
        return _after_no_verdict(command, arguments)
    return ""


def _command(words: Sequence[str]) -> str:
    from bevdiag.report.printable import command_line

    return command_line(words)


def _after_config(error: ConfigError, command: str, arguments: Sequence[str]) -> str:
    place = error.location
    if place is not None and place.file.suffix == ".toml":
        return "bevdiag schema policy"
    config = str(place.file) if place is not None else _config(arguments)
    if command in _READS_CONFIGS and config:
        return _command(["bevdiag", "check", config])
    return _command(["bevdiag", command, "--help"])


def _after_no_verdict(command: str, arguments: Sequence[str]) -> str:
    config = _config(arguments)
    has_source = any(word.partition("=")[0] == "--source" for word in arguments)
    if command in _READS_CONFIGS and config and not has_source:
        return f"{_command(['bevdiag', command, config])} --source DIR"
    if config:
        return _command(["bevdiag", "check", config])
    return "bevdiag doctor"


def _config(arguments: Sequence[str]) -> str:
    return next((word for word in arguments if Path(word).suffix in (".yaml", ".yml")), "")


INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""

# Typer carries its own copy of click in some releases and depends on click in others; the base of
# its usage errors is the same class either way, seen from the one that typer exports.
_CLICK_ERROR = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)


class _Commands(TyperGroup):
    """Lists the commands for one model, many configs, a failure, reference and measuring."""

    def list_commands(self, ctx: object) -> list[str]:
        # Typer itself puts the groups behind all commands.
        names = list(self.commands)
        names.remove("baseline")
        names.insert(names.index("preflight") + 1, "baseline")
        names.remove("scene")
        names.insert(names.index("calibrate"), "scene")
        return names


app = typer.Typer(
    name="bevdiag",
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    epilog=(
        "Exit codes: 0 fits, or no budget was named and nothing is wrong; 1 over the budget, or a "
        "finding of severity error; 2 bad usage or config; 3 no verdict; 130 interrupted."
    ),
)
app.command("inspect")(inspect_command)
app.command("fix")(fix_command)
app.command("fit")(fit_command)
app.command("compare")(compare_command)
app.command("check")(check_command)
app.command("preflight")(preflight_command)
app.add_typer(baseline_app, name="baseline")
app.command("init")(init_command)
app.add_typer(scene_app, name="scene")
app.command("explain")(explain_command)
app.command("doctor")(doctor_command)
app.command("gpus")(gpus_command)
app.command("rule")(rule_command)
app.command("schema")(schema_command)
app.command("calibrate")(calibrate_command)
app.command("validate")(validate_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        write_output(f"bevdiag {__version__}\n", STDOUT)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Tell what a 3D detector's training step will ask of a GPU, before it is launched."""


def main() -> NoReturn:
    """Run the process's command and end it at once.

    To take torch's million objects apart takes half as long as to import them.
    """
    code = run()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody listens; the exit code still says it
            stream.flush()
    os._exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code; `arguments` default to the process's own."""
    replace_missing_streams()
    forget()
    own, launched = _split(sys.argv[1:] if arguments is None else arguments)
    code = _ended(own, launched)
    try:
        flush_stdout()
    except OutputError as error:
        return max(code, say_error(error))
    return code


def _ended(own: list[str], launched: tuple[str, ...] | None) -> int:
    try:
        check_limits()
    except NoVerdictError as error:  # which names the limit to raise
        return say_error(error)
    try:
        command = typer.main.get_command(app)
        return int(
            command.main(
                own or ["--help"], prog_name="bevdiag", standalone_mode=False, obj=launched
            )
            or 0
        )
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except SystemExit:  # click's own way to say that nobody reads what it prints
        return ExitCode.FITS if "--help" in own else ExitCode.NO_VERDICT
    except Exception as error:
        if isinstance(error, _CLICK_ERROR):
            say(f"error: {_usage_sentence(error)}")
            return ExitCode.USAGE
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            error = InputError(
                f"{' '.join(own[:1])} traces a training step with PyTorch, which is not installed "
                "here: pip install 'bevdiag[torch]', or the wheel of your choice first"
            )
        verbose = not {"-v", "--verbose"}.isdisjoint(own)
        return say_error(error, verbose=verbose, following=next_command(error, own))


def _split(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...] | None]:
    """Our own arguments, and the command that preflight runs: all that follows its first ``--``.

    None where there is no ``--``; a command without words where nothing follows it.
    """
    given = list(arguments)
    if given[:1] != ["preflight"] or "--" not in given:
        return given, None
    end = given.index("--")
    return given[:end], tuple(given[end + 1 :])


def _usage_sentence(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "bevdiag"
    sentence: str = error.format_message()  # type: ignore[attr-defined]
    return f"{sentence.rstrip('.')}; see {command} --help"
