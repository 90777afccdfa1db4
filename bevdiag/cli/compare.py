"""`bevdiag compare`: the same model under several compressions, batch sizes and autocasts."""

from dataclasses import replace
from typing import Annotated

from bevdiag.cli import options as opt
from bevdiag.cli.asked import MODEL, POINTS, REST, TARGET, TRAINING, OptionTexts, reports, takes
from bevdiag.cli.output import Output
from bevdiag.cli.progress import importing_torch, progress_bar
from bevdiag.files.shipped import SHIPPED_NAME, shipped_config
from bevdiag.prediction import values

DEFAULT_MODES = "max,mean,learned,sparse_max"


@takes(*MODEL, *POINTS, *TRAINING, "optimizer", *TARGET, *REST, no_entry="compare varies a config")
@reports(values.FORMATS, page=True)
def compare_command(
    asked: OptionTexts,
    output: Output,
    config: opt.ConfigOrShipped = None,
    compression: Annotated[str | None, opt.option("--compression NAME,...")] = None,
    batch_size: opt.BatchSizes = None,
    autocast: opt.Autocasts = None,
) -> int:
    """Compare ways to the BEV map of CONFIG in one table."""
    axes = (
        values.choose_several("--compression", compression or DEFAULT_MODES, values.compressions())
        if asked.source is None
        else _modules(compression),
        values.batch_sizes(batch_size),
        values.autocasts(autocast),
    )
    chosen = config or shipped_config()
    wanted = asked.job(chosen).options
    with progress_bar() as progress:
        with importing_torch(progress):
            from bevdiag.prediction.compare import compare

        report = compare(chosen, wanted, *axes, progress)
    if config is None:
        report = replace(report, config=SHIPPED_NAME)
    from bevdiag.report.text.compare_report import write_compare

    output.write(report, write_compare)
    output.write_page(report)
    return report.exit_code


def _modules(text: str | None) -> tuple[str, ...]:
    """Split a list of the repository's own modules, whose names it alone knows."""
    return tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))
