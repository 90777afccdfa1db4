"""`bevdiag fix`: the cheapest set of changes that makes a config's step fit, as edits of its text.

Every set is applied and traced again. Of the sets that fit, the cheapest is written into a copy of
the text; that text is read and traced once more, and only what it then comes to is believed.
"""

from contextlib import nullcontext
from dataclasses import fields, replace
from difflib import unified_diff
from pathlib import Path

from bevdiag.config.edits import edited_text, says
from bevdiag.config.load import read_document
from bevdiag.config.yaml_tree import MAX_BYTES
from bevdiag.errors import BevdiagError, InputError
from bevdiag.files.reading import read_file
from bevdiag.files.writing import locked, write_file
from bevdiag.memory.device import DeviceTarget
from bevdiag.models.interfaces import Changes
from bevdiag.prediction.options import InspectOptions, Progress
from bevdiag.prediction.predicted import source_of
from bevdiag.prediction.result import Plan
from bevdiag.prediction.step_source import ENDS_THAT_JUDGE, ConfigSource, Recorded
from bevdiag.prediction.target import require_capacity
from bevdiag.remedies.advice import advice_for
from bevdiag.remedies.results import FixReport
from bevdiag.remedies.search import search_plans
from bevdiag.remedies.sets import apply_set, plan_of
from bevdiag.rules.sound_grid import sound_grid

_BOM = "\ufeff"
_NO_NEWLINE = "\\ No newline at end of file"


def fix(
    config: Path,
    options: InspectOptions,
    progress: Progress,
    *,
    unsafe: bool = False,
    write: bool = False,
) -> FixReport:
    """Find the cheapest set of changes that fits, with `unsafe` ones too; with `write`, write it.

    Raises:
        BevdiagError: a config, point file or option that cannot be used.
    """
    if config.suffix == ".py":
        raise InputError(
            f"{config} is code, which bevdiag does not edit: `bevdiag inspect` lists what helps"
        )
    progress("training step", 0.02)
    source, goal, recorded = _first_step(config, options)
    base = plan_of(source, recorded, goal)
    report = FixReport(
        config=str(config),
        target=goal,
        scene=source.input()[0],
        base=base,
        unsafe_allowed=unsafe,
    )
    if base.fits and not source.edits:
        return report
    if base.fits or goal.capacity_bytes is None:
        report = replace(report, chosen=base)
    else:
        found, step = search_plans(
            source,
            goal,
            base,
            lambda what, share: progress(f"remedies: {what}", 0.05 + 0.85 * share),
            unsafe=unsafe,
        )
        report = replace(report, **{one.name: getattr(found, one.name) for one in fields(found)})
        progress("advice", 0.9)
        if found.chosen is not None:
            source, _ = apply_set(source, found.chosen.ids)
        report = replace(report, advice=advice_for(source, goal, step or recorded))
    if report.chosen is None:
        return report
    with locked(config) if write else nullcontext():
        return _with_edits(source, report, write=write)


def _first_step(
    config: Path, options: InspectOptions
) -> tuple[ConfigSource, DeviceTarget, Recorded]:
    """Return the step that is to be changed, what it must fit, and its traces.

    It is that of the sound grid where it runs on no other, and then nobody need ask for a size.
    What a repository's own code makes of a grid, it knows alone: its step is tried first.
    """
    grid = sound_grid(read_document(config, options.overrides))

    def on(edits: Changes) -> tuple[ConfigSource, DeviceTarget, Recorded]:
        declared = source_of(config, options, edits)
        target = declared.target() if grid else require_capacity(declared.target())
        source: ConfigSource = declared.as_it_arrives()
        return source, target, source.record(ENDS_THAT_JUDGE)

    if options.source is None:
        return on(grid)
    try:
        source, target, recorded = on({})
    except BevdiagError:
        if not grid:
            raise
        return on(grid)
    return source, require_capacity(target), recorded


def _with_edits(source: ConfigSource, report: FixReport, *, write: bool) -> FixReport:
    """Add the diff to the report; where it is wanted, write the file and inspect it again."""
    chosen, path, edits = report.chosen, source.path, source.edits
    assert chosen is not None
    text = read_file(path, MAX_BYTES).decode("utf-8")
    mark, plain = _without_mark(text)
    document = read_document(path)
    try:
        after = mark + edited_text(path, plain, document, edits)
    except BevdiagError as error:
        return replace(report, refusal=str(error))
    if not says(path, _without_mark(after)[1], document, edits):
        return replace(report, refusal="the edited text would not say what was traced")
    report = replace(report, diff=_diff(path, text, after))
    if not write or after == text:
        return report
    write_file(path, after.encode(), "--write", updated=True)
    problem = _checked_again(chosen, path, source.options)
    if problem:
        write_file(path, text.encode(), "--write", updated=True)
        return replace(report, refusal=f"{problem}: the file is as it was")
    return replace(report, written=True)


def _without_mark(text: str) -> tuple[str, str]:
    """Split off the byte order mark that the text begins with, if it does."""
    return (_BOM, text[1:]) if text.startswith(_BOM) else ("", text)


def _diff(path: Path, before: str, after: str) -> str:
    """Write the edits as git apply and patch -p1 take them, in the folder where this runs."""
    here = path.absolute()
    name = (here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else path).as_posix()
    end = "\t" if " " in name else ""  # which ends a name with spaces
    lines = unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        fromfile=f"a/{name}{end}",
        tofile=f"b/{name}{end}",
    )
    return "".join(line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}\n" for line in lines)


def _checked_again(promised: Plan, path: Path, options: InspectOptions) -> str:
    """Read and trace the written config from the start, and say what is wrong; empty if nothing."""
    try:
        written = source_of(path, options).as_it_arrives()
        found = plan_of(written, written.record(ENDS_THAT_JUDGE), written.target())
    except BevdiagError as error:
        return f"the written config cannot be inspected ({error})"
    if (found.verdict, found.high_bytes) != (promised.verdict, promised.high_bytes):
        return "the written config does not come to what its changes came to"
    return ""
