"""What a GPU measured, beside what was predicted."""

from bevdiag.prediction.result import Measurement, Prediction
from bevdiag.report.amounts import bytes_if_known, format_bytes, format_count, format_error
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
    if rows := [_row(*figures) for figures in _figures(report, measured)]:
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


def _figures(report: Prediction, measured: Measurement) -> list[tuple[str, int | None, int | None]]:
    largest = sorted(measured.modules.items(), key=lambda item: (-item[1], item[0]))
    totals = [
        ("peak allocated", measured.peak_allocated_bytes, report.peak.allocated_bytes),
        ("peak reserved", measured.peak_reserved_bytes, report.peak.reserved_bytes),
    ]
    return [
        *(figures for figures in totals if figures[1] is not None),
        *(
            (
                f"{phase} peak",
                use.peak_allocated_bytes,
                report.phases[phase].peak_allocated_bytes if phase in report.phases else None,
            )
            for phase, use in measured.phases.items()
        ),
        *(
            (module, nbytes, measured.predicted_modules.get(module))
            for module, nbytes in largest[:TOP_MODULES]
        ),
    ]


def _row(what: str, measured: int | None, predicted: int | None) -> list[str]:
    both = measured is not None and predicted is not None
    return [
        what,
        bytes_if_known(measured),
        bytes_if_known(predicted),
        format_error(predicted or 0, measured or 0) if both else "-",
    ]
