"""The entry point: from arguments to an exit code, with one sentence for everything that fails."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.core import TyperGroup

from bevdiag import __version__
from bevdiag.cli.baseline import baseline_app
from bevdiag.cli.calibrate import calibrate_command
from bevdiag.cli.check import check_command
from bevdiag.cli.compare import compare_command
from bevdiag.cli.doctor import doctor_command
from bevdiag.cli.explain import explain_command
from bevdiag.cli.fit import fit_command
from bevdiag.cli.fix import fix_command
from bevdiag.cli.inspect import inspect_command
from bevdiag.cli.next_command import next_command
from bevdiag.cli.output import STDOUT, flush_stdout, say, say_error, write_output
from bevdiag.cli.preflight import preflight_command
from bevdiag.cli.reference import gpus_command, init_command, rule_command, schema_command
from bevdiag.cli.scene import scene_app
from bevdiag.cli.streams import check_limits, replace_missing_streams
from bevdiag.cli.validate import validate_command
from bevdiag.errors import ExitCode, InputError, NoVerdictError, OutputError
from bevdiag.files.known import forget

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
