"""`bevdiag check`: configs read and checked in a moment, without torch, for editors and hooks."""

from pathlib import Path

from bevdiag.cli import options as opt
from bevdiag.cli.asked import reports
from bevdiag.cli.output import CHECK_FORMATS, Output, further_outputs
from bevdiag.prediction import values


@reports(CHECK_FORMATS)
def check_command(
    output: Output,
    configs: opt.Configs,
    sets: opt.Overrides = None,
    data_root: opt.DataRoot = None,
    policy: opt.PolicyFile = None,
    isolated: opt.Isolated = False,
    also: opt.Also = None,
) -> int:
    """Check configs by the rules that need no traced step.

    Needs no torch and takes a moment; nothing is said of memory.
    """
    from bevdiag.config.found import config_files
    from bevdiag.prediction.checked import check_untraced, worst
    from bevdiag.prediction.jobs import policies
    from bevdiag.report.text.checks_report import write_check

    beside = further_outputs(also)
    overrides = values.overrides(sets)
    folder = values.optional(values.folder, "--data-root", data_root)
    configs = config_files(configs)
    rules = policies(configs, policy, isolated=isolated)
    checks = [
        check_untraced(config, rule.ignore, overrides, Path(folder) if folder else None)
        for config, rule in zip(configs, rules, strict=True)
    ]
    for further in beside:
        further.write(checks)
    output.write(checks, write_check)
    return worst(check.exit_code for check in checks)
