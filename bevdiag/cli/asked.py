"""The options that commands share, declared once, and what they ask of a prediction.

A command names those that it takes (`takes`) and gets them as one `Asked`; Typer sees them as the
command's own.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

from bevdiag.cli import options as opt
from bevdiag.cli.output import MEMORY_VIZ, STDOUT, Output, check_output
from bevdiag.errors import InputError
from bevdiag.files.reading import STDIN
from bevdiag.memory.loop import Loop
from bevdiag.prediction import values
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.values import optional

if TYPE_CHECKING:
    from bevdiag.prediction.checked import Job


def _option(name: str) -> str:
    """Return what the command line calls a field of `Asked`."""
    # In an annotation, Typer takes the first name for a default until it reads it.
    option: str = get_args(OptionTexts.__dataclass_fields__[name].type)[1].default
    return option


@dataclass(frozen=True, kw_only=True)
class OptionTexts:
    """The texts of the options, as they were given."""

    device: Annotated[str, opt.option(f"--device {opt.DEVICES}")] = "auto"
    source: opt.Source = None
    entry: Annotated[str | None, opt.option("--entry FILE.py:FUNCTION")] = None
    points: Annotated[list[str] | None, opt.option("--points FILE")] = None
    scene: Annotated[str | None, opt.option("--scene FILE")] = None
    batch: Annotated[str | None, opt.option("--batch FILE")] = None
    point_columns: opt.PointColumns = None
    point_dtype: opt.PointDtype = None
    batch_size: Annotated[str | None, opt.option("--batch-size N")] = None
    autocast: Annotated[str | None, opt.option(f"--autocast {opt.AUTOCASTS}")] = None
    optimizer: Annotated[str | None, opt.option("--optimizer NAME")] = None
    compression: Annotated[str | None, opt.option("--compression NAME")] = None
    gpu: opt.GpuName = None
    budget: Annotated[str | None, opt.option("--budget SIZE")] = None
    margin: Annotated[str | None, opt.option("--margin SHARE|SIZE")] = None
    torch: Annotated[str | None, opt.option("--torch VERSION")] = None
    cudnn: Annotated[str | None, opt.option("--cudnn VERSION")] = None
    profile: opt.Profile = None
    cudnn_benchmark: Annotated[bool, opt.option("--cudnn-benchmark")] = False
    gpus: Annotated[str, opt.option("--gpus N")] = "1"
    accumulate: Annotated[str, opt.option("--accumulate N")] = "1"
    scaler: Annotated[bool, opt.option("--scaler")] = False
    ema: Annotated[bool, opt.option("--ema")] = False
    resume: Annotated[bool, opt.option("--resume")] = False
    step: Annotated[str, opt.option("--step train|eval")] = "train"
    sets: opt.Overrides = None
    data_root: opt.DataRoot = None
    assume: Annotated[list[str] | None, opt.option("--assume SITE=COUNT")] = None
    seed: Annotated[str, opt.option("--seed N")] = "0"
    timeout: Annotated[str | None, opt.option("--timeout SECONDS")] = None
    rehearse: Annotated[str, opt.option("--rehearse auto|off")] = "auto"
    policy: opt.PolicyFile = None
    isolated: opt.Isolated = False

    def options(self) -> InspectOptions:
        """Return what no policy decides, each checked; a step is predicted, and no remedy tried.

        Raises:
            InputError: one of them cannot be used, or has no effect on what is asked.
        """
        if self._runs_code and self.device == "cuda":
            raise InputError(
                "--device cuda measures models that are built in: leave it out with --source and "
                "--entry"
            )
        rehearse = values.choose("--rehearse", self.rehearse, ("auto", "off"))
        self._refuse_without_effect()
        return InspectOptions(
            device=values.choose("--device", self.device, values.DEVICES),
            points=tuple(self.points or ()),
            scene=self.scene,
            batch=self.batch,
            point_columns=optional(values.point_columns, "--point-columns", self.point_columns),
            point_dtype=optional(values.point_dtype, "--point-dtype", self.point_dtype),
            profile=self.profile,
            cudnn_benchmark=self.cudnn_benchmark,
            compression=optional(
                values.module if self.source is not None else values.compression,
                "--compression",
                self.compression,
            ),
            overrides=values.overrides(self.sets),
            pins=values.pins(self.assume),
            seed=values.whole_number("--seed", self.seed, least=0),
            remedies=False,
            source=optional(
                values.source_folder if self.entry is None else values.folder,
                "--source",
                self.source,
            ),
            entry=self.entry,
            data_root=optional(values.folder, "--data-root", self.data_root),
            timeout_seconds=optional(values.positive, "--timeout", self.timeout),
            rehearses=rehearse == "auto",
            loop=self._loop(),
        )

    @property
    def _runs_code(self) -> bool:
        return self.source is not None or self.entry is not None

    def refuse(self, names: Iterable[str], why: str) -> None:
        """Refuse options that have no effect on what is asked.

        Raises:
            InputError: one of them is given.
        """
        for option in self._given(names):
            raise InputError(f"{option}: {why}")

    def _given(self, names: Iterable[str]) -> dict[str, Any]:
        """Return what was given of these options, by what the command line calls each."""
        known = {field.name: field.default for field in fields(self) if field.name in names}
        given = {name: getattr(self, name) for name in known}
        return {_option(n): value for n, value in given.items() if value not in (None, known[n])}

    def _refuse_without_effect(self) -> None:
        of_config = (*POINTS, "batch_size", "compression", "sets", "data_root")
        code = "applies to the code of a repository: give --source"
        batch = "the batch is that of --batch: leave one of them out"
        binary = "says how a .bin file is read: give one with --points"
        for applies, names, why in (
            (not self._runs_code, ("rehearse",), code),
            (self.entry, of_config, "has no effect on what --entry gives: leave it out"),
            (self.entry, ("step",), "the function of --entry gives a training step"),
            (not self.points, ("point_columns", "point_dtype"), binary),
            (self.points, ("scene",), "describes a synthetic scene: leave it out with --points"),
            (not self.source, ("batch",), "is for the model of a repository: give --source too"),
            (self.batch, ("points", "scene"), batch),
        ):
            if applies:
                self.refuse(names, why)

    def _loop(self) -> Loop:
        """Return what the training script does around the step."""
        loop = Loop(
            gpus=values.positive("--gpus", self.gpus),
            accumulate=values.positive("--accumulate", self.accumulate),
            scaler=self.scaler,
            ema=self.ema,
            resumes=self.resume,
            evaluates=values.choose("--step", self.step, ("train", "eval")) == "eval",
        )
        trains = loop.accumulate > 1 or loop.scaler or loop.ema or loop.resumes or self.optimizer
        if loop.evaluates and trains:
            raise InputError(
                "--accumulate, --scaler, --ema, --resume and --optimizer belong to training: not "
                "--step eval"
            )
        if not loop.is_plain and self.device == "cuda":
            raise InputError("--device cuda measures the plain step: leave out the loop's options")
        return loop

    def command(self, name: str, config: Path | None, taken: Sequence[str]) -> str:
        """Return the command line of another command that takes these options, as they were given.

        Args:
            name: the command's.
            config: the file that it is asked about; None for --entry alone.
            taken: the options that the command has.
        """
        from bevdiag.report.printable import command_line

        words = ["bevdiag", name] if config is None else ["bevdiag", name, str(config)]
        for option, given in self._given(taken).items():
            for value in given if isinstance(given, list) else [given]:
                words += [option] if value is True else [option, str(value)]
        return command_line(words)

    def jobs(self, configs: "Sequence[Path]", *, judged: bool = True) -> "list[Job]":
        """One job a config, with what its project's policy decides.

        Args:
            configs: the files; none where --entry needs none.
            judged: whether a GPU or a budget is looked for where no option names one.

        Raises:
            BevdiagError: a policy or an option that cannot be used.
        """
        from bevdiag.prediction.jobs import Given, make_jobs

        if self.source is not None and Path(STDIN) in configs:
            raise InputError("--source reads the config in a process of its own: no config from -")
        if not configs and self.entry is None:
            raise InputError("name a CONFIG, or a function with --entry FILE.py:FUNCTION")
        configs = configs or [Path(str(self.entry).rpartition(":")[0])]
        given = Given(**{field.name: getattr(self, field.name) for field in fields(Given)})
        return make_jobs(
            configs, given, self.options(), self.policy, isolated=self.isolated, judged=judged
        )

    def job(self, config: Path | None, *, judged: bool = True) -> "Job":
        """Return the job of one config, or of --entry alone."""
        (job,) = self.jobs([] if config is None else [config], judged=judged)
        return job


POINTS = ("points", "scene", "batch", "point_columns", "point_dtype")
"""The point files and how they are read, what a synthetic scene is to hold, or a saved batch."""
TRAINING = ("gpus", "accumulate", "scaler", "ema", "resume")
"""What the training script does around the step."""
MODEL = ("source", "entry")
"""Whose code builds it."""
STEP = (*MODEL, *POINTS, "batch_size", "autocast", "optimizer", "compression", *TRAINING, "step")
"""Which model and which step."""
TARGET = ("gpu", "budget", "margin", "torch", "cudnn", "profile", "cudnn_benchmark")
"""What it is judged by."""
FIXED = (*MODEL, *POINTS, *TRAINING, "step", "batch_size", "autocast", "optimizer", *TARGET)
"""What the step is that `fix` changes."""
REST = ("sets", "assume", "seed", "timeout", "rehearse", "policy", "isolated")


Command = Callable[..., int]


def takes(*names: str, no_entry: str = "") -> Callable[[Command], Command]:
    """Give a command these options of `Asked`, ahead of its own, as its keyword `asked`.

    `no_entry` says why it refuses --entry, which its help then leaves out.
    """
    shared = []
    for field in fields(OptionTexts):
        if field.name in names:
            annotation: Any = field.type
            if field.name == "entry" and no_entry:
                annotation = opt.hidden(annotation)
            shared.append(_parameter(field.name, annotation, field.default))

    def asked(given: dict[str, Any]) -> OptionTexts:
        # A command without --device predicts.
        found = OptionTexts(**{"device": "meta", **given})
        if no_entry:
            found.refuse(["entry"], f"{no_entry}: see it with bevdiag inspect")
        return found

    return lambda command: _with_options(command, "asked", shared, asked, is_first=True)


def reports(formats: Sequence[str], *, page: bool = False) -> Callable[[Command], Command]:
    """Give a command --format, --output and, for a `page`, --html as its keyword `output`."""
    named = Annotated[str, opt.option(f"--format {'|'.join(formats)}")]
    shared = [
        _parameter("format", named, "text"),
        _parameter("file", opt.OutputFile, STDOUT),
        *([_parameter("page", opt.Html, None)] if page else []),
    ]

    def output(given: dict[str, Any]) -> Output:
        found = Output(**given)
        values.choose("--format", found.format, formats)
        check_output(found.file)
        if found.format == MEMORY_VIZ and found.file == STDOUT and sys.stdout.isatty():
            raise InputError(f"--format {MEMORY_VIZ} is no text: name a file with -o")
        if found.page == STDOUT:
            raise InputError("--html: name a file; stdout is the report's")
        if found.page is not None:
            check_output(found.page, "--html")
        return found

    return lambda command: _with_options(command, "output", shared, output, is_first=False)


def _parameter(name: str, annotation: Any, default: object) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _with_options(
    command: Command,
    keyword: str,
    shared: Sequence[inspect.Parameter],
    made: Callable[[dict[str, Any]], object],
    *,
    is_first: bool,
) -> Command:
    """Return the command as Typer is to see it: with the shared options in place of a keyword."""
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(command).parameters.values()
        if parameter.name != keyword
    ]
    arguments = [p for p in own if p.default is inspect.Parameter.empty or p.name == "config"]
    options = [p for p in own if p not in arguments]
    ordered = (*shared, *options) if is_first else (*options, *shared)

    @functools.wraps(command)
    def run(**given: Any) -> int:
        taken = {parameter.name: given.pop(parameter.name) for parameter in shared}
        return command(**{keyword: made(taken)}, **given)

    parameters = [*arguments, *ordered]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run
