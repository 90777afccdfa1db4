"""`bevdiag check`: configs read and checked in a moment, without torch, for editors and hooks."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bevdiag.cli import options as opt
from bevdiag.cli import values
from bevdiag.cli.formats import CHECK_FORMATS, renderer
from bevdiag.cli.output import STDOUT, check_output, layout_for, write_output
from bevdiag.cli.preflight import write_also

if TYPE_CHECKING:
    from bevdiag.diagnose.checked import Check


def check_command(
    configs: opt.Configs,
    sets: opt.Overrides = None,
    data_root: opt.DataRoot = None,
    policy: opt.PolicyFile = None,
    isolated: opt.Isolated = False,
    output_format: opt.CheckFormat = "text",
    output: opt.Output = STDOUT,
    also: opt.Also = None,
) -> int:
    """Check CONFIG... by the rules that need no traced step; nothing is said of memory."""
    from bevdiag.cli.jobs import policies
    from bevdiag.diagnose.checked import worst
    from bevdiag.diagnose.untraced import check_untraced

    values.choose("--format", output_format, CHECK_FORMATS)
    check_output(output)
    beside = values.formats_and_files(also)
    overrides = values.overrides(sets)
    folder = values.folder("--data-root", data_root)
    rules = policies(configs, None if policy is None else Path(policy), isolated=isolated)
    checks = [
        check_untraced(config, rule.ignore, overrides, Path(folder) if folder else None)
        for config, rule in zip(configs, rules, strict=True)
    ]
    write_also(checks, beside)
    write_output(_rendered(checks, output_format, output), output)
    return worst(check.exit_code for check in checks)


def _rendered(checks: "Sequence[Check]", output_format: str, output: str) -> str:
    if output_format != "text":
        return renderer(output_format)(checks)
    from bevdiag.report.text.check_report import render_check

    return render_check(checks, layout_for(output))
