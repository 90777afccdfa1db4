"""A progress bar on stderr for work that takes a while."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer

PATIENCE_SECONDS = 1.0
"""Work that ends sooner shows no bar."""

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of the work that is done, 0 to 1."""


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Yields the callback; the bar shows only on a terminal, and goes away at the end."""
    if not sys.stderr.isatty():
        yield _ignore
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    from bevdiag.report.printable import printable

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task("", total=1.0)
    timer = Timer(PATIENCE_SECONDS, bar.start)
    timer.daemon = True
    timer.start()

    def report(doing: str, done: float) -> None:
        bar.update(task, description=printable(doing), completed=done)

    try:
        yield report
    finally:
        timer.cancel()
        timer.join()
        bar.stop()


def _ignore(doing: str, done: float) -> None:
    """Nobody watches."""
