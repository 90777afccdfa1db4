"""A function of the user's own as a source of its training step: model, batch, loss, optimizer.

This runs its code, in a child process.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bevdiag.config.entry import EntryFile, read_entry
from bevdiag.config.model_settings import OptimizationSettings
from bevdiag.errors import InputError
from bevdiag.memory.device import DeviceTarget
from bevdiag.prediction.judged import Judged
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.step_source import EVERY, Recorded, Sifted
from bevdiag.prediction.target import device_target
from bevdiag.rules.traced import repository_stubbed
from bevdiag.source import SavedBatch, trace_step
from bevdiag.source.dialects import entry as own_code
from bevdiag.trace.kept_voxels import Scenario
from bevdiag.trace.step import StepOptions

_OPTIMIZER = "adamw"


@dataclass(frozen=True, kw_only=True)
class EntrySource:
    """The step of what `--entry` names.

    Attributes:
        entry: the function.
        config: the path that it gets; None where it gets none.
        options: what the step is judged by, its autocast (default off) and optimizer (the
            function's own, else adamw).
    """

    entry: EntryFile
    config: Path | None
    options: InspectOptions

    bev_channels = None

    @classmethod
    def read(cls, config: Path, options: InspectOptions) -> "EntrySource":
        """Find the function; nothing of it is run yet.

        Args:
            config: a config for the function, or the function's own file where there is none.
            options: the user's.

        Raises:
            InputError: there is no such function, or it and the config do not go together.
        """
        assert options.entry is not None
        entry = read_entry(options.entry)
        given = None if config == entry.path else config
        if given is None and entry.needs_config:
            raise InputError(f"--entry {entry}: asks for the path of a config: give CONFIG")
        if given is not None and not entry.takes_config:
            raise InputError(
                f"{given}: has no effect, as {entry} takes no argument: leave the config out"
            )
        if given is not None and not given.is_file():
            raise InputError(f"{given}: there is no such file")
        return cls(entry=entry, config=given, options=options)

    @property
    def name(self) -> str:
        return str(self.entry if self.config is None else self.config)

    @property
    def model(self) -> str:
        return self.entry.function

    @property
    def autocast(self) -> str:
        return self.options.autocast or "off"

    @property
    def optimizer(self) -> str:
        return self.options.optimizer or f"the entry's, or else {_OPTIMIZER}"

    def target(self) -> DeviceTarget:
        return device_target(self.options, torch.__version__)

    def record(self, scenarios: Sequence[Scenario] = EVERY) -> Recorded:
        """Record the training step; the function's batch is the only scene.

        Raises:
            BevdiagError: the code fails, or asks for something that is not modelled.
        """
        options, folder = self.options, self.entry.path.resolve().parent
        root = folder if options.source is None else Path(options.source)
        config = None if self.config is None else self.config.resolve()
        replaces = options.optimizer is not None
        traced = trace_step(
            own_code.EntryDialect(root.resolve(), self.entry, config, replaces_optimizer=replaces),
            StepOptions(
                optimization=OptimizationSettings(),
                optimizer=options.optimizer or _OPTIMIZER,
                autocast=self.autocast,
                target=self.target(),
                loop=options.loop,
            ),
            options.timeout_seconds,
            scenes={Scenario.EXPECTED: SavedBatch(self.entry.path, {})},
            pins=options.pins,
            rehearses=options.rehearses,
        )
        return Recorded(
            traces=traced.traces,
            assumptions=traced.assumptions,
            notes=traced.findings,
        )

    def findings(self, recorded: Recorded, step: Judged) -> Sifted:
        """Report what was left out or had a stub; there is no config to find anything in."""
        return tuple(repository_stubbed(recorded.notes)), ()
