from dataclasses import replace

from bevdiag.prediction.result import Prediction
from bevdiag.report.text.measurement import TOP_MODULES, write_measurement

from .conftest import written


def _text(report: Prediction) -> str:
    return "\n".join(written(write_measurement, report))


def test_measured_and_predicted_stand_side_by_side(measured: Prediction) -> None:
    row = next(line for line in _text(measured).splitlines() if "peak allocated" in line)
    assert row.split() == [
        "peak", "allocated", "75.20", "GiB", "74.80", "GiB", "-0.5", "%",
    ]  # fmt: skip


def test_a_module_that_was_not_predicted_has_no_error(measured: Prediction) -> None:
    row = next(line for line in _text(measured).splitlines() if "backbone_2d" in line)
    assert row.split()[-2:] == ["-", "-"]


def test_a_failure_is_reported(measured: Prediction) -> None:
    assert measured.measurement is not None
    failed = replace(
        measured.measurement,
        peak_allocated_bytes=None,
        peak_reserved_bytes=None,
        failure="the child process died of signal 8",
        oom_message="CUDA out of memory.",
    )
    text = _text(replace(measured, measurement=failed))
    assert "died of signal 8" in text
    assert "CUDA out of memory." in text
    assert "peak allocated" not in text


def test_small_modules_are_only_counted(measured: Prediction) -> None:
    assert measured.measurement is not None
    modules = {f"m{number:02}": number for number in range(TOP_MODULES + 2)}
    text = _text(replace(measured, measurement=replace(measured.measurement, modules=modules)))
    assert "m21" in text
    assert "m01" not in text
    assert "2 smaller modules" in text


def test_nothing_measured_no_section(over: Prediction) -> None:
    assert written(write_measurement, over) == []
