"""What is being done, on stderr, while work takes a while."""

import gc
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING

from bevdiag.cli.output import say
from bevdiag.prediction.options import Progress as Progressing
from bevdiag.trace.host_memory import keep_freed_memory

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE_SECONDS = 1.0
"""Work that ends sooner says nothing."""


class Watch:
    """Says what is being done, and for how long work has been going on.

    Args:
        patience: seconds before anything is said.
        bar: is drawn on a terminal and goes away at the end; None says it in plain lines.
    """

    def __init__(self, patience: float = PATIENCE_SECONDS, bar: "Progress | None" = None) -> None:
        self._patience = patience
        self._begun = time.monotonic()
        self._phase = ""
        self._bar = bar
        if bar is not None:
            self._task = bar.add_task("", total=1.0)

    def __call__(self, doing: str, done: float) -> None:
        """Draw the bar, or write one plain line a phase once work takes a while."""
        if self._bar is not None:
            from bevdiag.report.printable import printable

            self._bar.update(self._task, description=printable(doing), completed=done)
            return
        phase = doing.partition(":")[0]
        elapsed = time.monotonic() - self._begun
        if phase != self._phase and elapsed >= self._patience:
            say(f"[{elapsed:.0f} s] {phase}")
        self._phase = phase

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Something else is written inside."""
        if self._bar is not None:
            self._bar.stop()
        try:
            yield
        finally:
            if self._bar is not None:
                self._bar.start()


@contextmanager
def progress_bar(*, quiet: bool = False) -> Iterator[Watch]:
    """Yield what is to be called: a bar on a terminal, plain lines elsewhere unless `quiet`."""
    if not sys.stderr.isatty():
        yield Watch(math.inf if quiet else PATIENCE_SECONDS)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    timer = Timer(PATIENCE_SECONDS, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield Watch(bar=bar)
    finally:
        timer.cancel()
        timer.join()
        bar.stop()


@contextmanager
def importing_torch(progress: Progressing) -> Iterator[None]:
    """Announce imports that take a second, and keep the garbage collector out of them.

    Whoever imports torch is about to trace: what the process frees is kept for that.

    They make a million objects that stay: looking through them takes a third of that second, and a
    worker that did so would copy every page of them.
    """
    progress("importing torch", 0.0)
    keep_freed_memory()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
