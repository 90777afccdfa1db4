"""`bevdiag check`: configs read and checked in a moment, without torch, for editors and hooks."""

from pathlib import Path

from bevdiag.cli import options as opt
from bevdiag.cli.output import (
    CHECK_FORMATS,
    STDOUT,
    check_output,
    formats_and_files,
    write_also,
    write_report,
)
from bevdiag.prediction import values


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
    """Check configs by the rules that need no traced step.

    Needs no torch and takes a moment; nothing is said of memory.
    """
    from bevdiag.config.found import config_files
    from bevdiag.prediction.checked import check_untraced, worst
    from bevdiag.prediction.jobs import policies
    from bevdiag.report.text.checks_report import write_check

    values.choose("--format", output_format, CHECK_FORMATS)
    check_output(output)
    beside = formats_and_files(also)
    overrides = values.overrides(sets)
    folder = values.optional(values.folder, "--data-root", data_root)
    configs = config_files(configs)
    rules = policies(configs, policy, isolated=isolated)
    checks = [
        check_untraced(config, rule.ignore, overrides, Path(folder) if folder else None)
        for config, rule in zip(configs, rules, strict=True)
    ]
    write_also(checks, beside)
    write_report(checks, output_format, output, as_text=write_check)
    return worst(check.exit_code for check in checks)
