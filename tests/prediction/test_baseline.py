from dataclasses import replace
from pathlib import Path

import pytest

from bevdiag.errors import ExitCode, InputError
from bevdiag.memory.loop import Loop
from bevdiag.prediction.baseline import Baseline, compared, read_baseline, record
from bevdiag.prediction.checked import Check


@pytest.fixture
def check(small):
    report = small.report()
    return Check(config=report.config, report=report)


@pytest.fixture
def file(tmp_path, check) -> Path:
    path = tmp_path / "memory.json"
    path.write_text(record([check], path).text(), encoding="utf-8")
    return path


def grown(check: Check, factor: float) -> Check:
    report = check.report
    layer = report.layers[0]
    return replace(
        check,
        report=replace(
            report,
            peak=replace(report.peak, allocated_bytes=round(report.peak.allocated_bytes * factor)),
            layers=(
                replace(layer, saved_bytes=layer.saved_bytes + 2**30),
                *report.layers[1:],
            ),
        ),
    )


def test_what_was_recorded_has_not_grown(check, file):
    again = compared(check, read_baseline(file), file, 0.0)
    assert again.growth == ()
    assert again.notes == ()
    assert again.exit_code is check.exit_code


def test_growth_beyond_the_tolerance_names_the_module_and_fails(check, file):
    baseline = read_baseline(file)
    more = grown(check, 1.04)
    assert compared(more, baseline, file, 0.05).growth == ()
    failed = compared(more, baseline, file, 0.01)
    (finding,) = failed.growth
    assert finding.code == "BEV311"
    assert " in peak (from " in finding.message
    assert finding.detail[0].startswith(f"+1024.00 MiB in {check.report.layers[0].name}")
    assert failed.exit_code is ExitCode.FINDINGS


def test_shrinking_is_no_growth(check, file):
    assert compared(grown(check, 0.5), read_baseline(file), file, 0.0).growth == ()


def test_other_conditions_are_reported(check, file):
    target = replace(check.report.target, gpu="t4", loop=Loop(ema=True))
    other = replace(check, report=replace(check.report, autocast="bf16", target=target))
    assert compared(other, read_baseline(file), file, 0.0).notes == (
        "the baseline was recorded with GPU none named, this is t4",
        "the baseline was recorded with training loop plain, this is EMA of the weights",
        "the baseline was recorded with autocast off, this is bf16",
    )


def test_a_config_that_was_not_recorded_is_reported(check, tmp_path):
    path = tmp_path / "other.json"
    noted = compared(check, Baseline(configs={}), path, 0.0)
    assert noted.growth == ()
    assert "does not record it" in noted.notes[0]


def test_what_was_not_traced_is_neither_recorded_nor_compared(tmp_path, file):
    broken = Check(config="a.yaml", failure="no such file", failure_code=ExitCode.USAGE)
    assert record([broken], tmp_path / "x.json").configs == {}
    assert compared(broken, read_baseline(file), file, 0.0) is broken


def test_configs_are_named_from_the_files_folder(check, tmp_path):
    inner = tmp_path / "a" / "memory.json"
    inner.parent.mkdir()
    (name,) = record([replace(check, config=str(tmp_path / "m.yaml"))], inner).configs
    assert name == "../m.yaml"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": "x", "configs": {}}', "[" * 9999, '{"configs": 3}', "\x00"]
)
def test_what_is_no_baseline_is_reported(tmp_path, text):
    path = tmp_path / "memory.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"memory\.json: .*expected a baseline") as refused:
        read_baseline(path)
    assert "\n" not in str(refused.value)


def test_a_missing_baseline_is_reported(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_baseline(tmp_path / "absent.json")


def test_a_step_with_a_batch_of_its_own_is_recorded_too(check, tmp_path):
    path = tmp_path / "memory.json"
    own = replace(check, report=replace(check.report, scene=None))
    recorded = record([own], path)
    (entry,) = recorded.configs.values()
    assert "scene" not in entry.conditions
    assert compared(own, recorded, path, 0.0).notes == ()
