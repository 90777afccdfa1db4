"""`bevdiag check`: what can be said of a config by reading it, without torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bevdiag.config import from_document, read_document
from bevdiag.errors import BevdiagError, ConfigError, NoVerdictError
from bevdiag.policy import IgnoredRule
from bevdiag.prediction.checked import Check, defect, without_ignored
from bevdiag.prediction.result import ConfigReport
from bevdiag.rules.checks import config_findings, sifted, stops
from bevdiag.rules.codes import Stage


def check_untraced(
    config: Path,
    ignore: Mapping[str, IgnoredRule],
    overrides: Sequence[str] = (),
    data_root: Path | None = None,
) -> Check:
    """Check one config by the rules that need it alone.

    Args:
        config: its file.
        ignore: the rules that the project's policy silences, by code.
        overrides: ``KEY=value`` texts.
        data_root: the folder that relative data paths start from; None does not look for data.
    """
    try:
        return _checked(config, ignore, overrides, data_root)
    except Exception as error:
        return defect(config, error)


def _checked(
    config: Path,
    ignore: Mapping[str, IgnoredRule],
    overrides: Sequence[str],
    data_root: Path | None,
) -> Check:
    name = str(config)
    try:
        document = read_document(config, overrides)
    except BevdiagError as error:
        return Check(config=name, failure=str(error), failure_code=error.exit_code)
    settings, refusal = None, None
    try:
        settings = from_document(config, document)
    except (ConfigError, NoVerdictError) as error:
        refusal = error
    findings, silenced = sifted(
        config_findings(document, settings, data_root), document, Stage.CONFIG
    )
    if isinstance(refusal, ConfigError) and not stops(findings):
        return Check(config=name, failure=str(refusal), failure_code=refusal.exit_code)
    report = ConfigReport(config=name, findings=findings, silenced=silenced, is_untried=True)
    # What bevdiag does not model is no fault of the config.
    notes = (str(refusal),) if isinstance(refusal, NoVerdictError) else ()
    return Check(config=name, report=without_ignored(report, ignore), notes=notes)
