"""What a GPU measured, beside what was predicted."""

from bevdiag.prediction.result import Measurement, Prediction
from bevdiag.report.amounts import format_bytes, format_count, format_error
from bevdiag.report.text.prose import Page

TOP_MODULES = 20
_COLUMNS = "~ | measured> | predicted> | error>"


def write_measurement(page: Page, report: Prediction) -> None:
    """Write the section "Measured"; nothing without a measurement."""
    measured = report.measurement
    if measured is None:
        return
    page.heading("Measured beside predicted")
    page.labelled(_entries(measured), column=12)
    for failure in (measured.failure, measured.oom_message):
        if failure:
            page.paragraph(failure, indent=2, style="red")
    if rows := _rows(report, measured):
        page.line()
        page.table(_COLUMNS, rows)
    hidden = len(measured.modules) - TOP_MODULES
    if hidden > 0:
        page.note(f"{hidden} smaller modules are in --format json")


def _entries(measured: Measurement) -> list[tuple[str, str]]:
    entries = [("On", f"{measured.gpu}, torch {measured.torch}, cuDNN {measured.cudnn}")]
    if measured.context_bytes is not None:
        context = f"{format_bytes(measured.context_bytes)} of CUDA context outside the allocator"
        entries.append(("Besides", context))
    if measured.other_processes:
        entries.append(("Others", "; ".join(measured.other_processes)))
    entries.extend(
        ("Kept", f"{format_count(count)} at {site}")
        for site, count in sorted(measured.kept_voxels.items())
    )
    return entries


def _rows(report: Prediction, measured: Measurement) -> list[list[str]]:
    largest = sorted(measured.modules.items(), key=lambda item: (-item[1], item[0]))
    figures = [
        ("peak allocated", measured.peak_allocated_bytes, report.peak.allocated_bytes),
        ("peak reserved", measured.peak_reserved_bytes, report.peak.reserved_bytes),
    ]
    rows: list[tuple[str, int | None, int | None]] = [row for row in figures if row[1] is not None]
    for phase, use in measured.phases.items():
        predicted = report.phases.get(phase)
        peak = predicted.peak_allocated_bytes if predicted else None
        rows.append((f"{phase} peak", use.peak_allocated_bytes, peak))
    for module, nbytes in largest[:TOP_MODULES]:
        rows.append((module, nbytes, measured.predicted_modules.get(module)))
    return [
        [what, format_bytes(was), format_bytes(said), format_error(said, was)]
        for what, was, said in rows
    ]
