"""The verdict: the sentence that a reader remembers."""

from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.result import SCENE_SITE, OutOfMemory, Prediction
from bevdiag.report.amounts import format_bytes
from bevdiag.report.text.peak import between
from bevdiag.report.text.prose import VERDICT_WORDS, Page, budget_name, judged_by, module_or_phase
from bevdiag.rules.finding import Severity


def write_opening(page: Page, report: Prediction) -> None:
    """Write config, verdict, and PyTorch's own message: plans change none of it."""
    page.paragraph(f"{report.config}: {report.model}", style="dim")
    if named := judged_by(report.target):
        page.paragraph(named, style="dim")
    page.line()
    write_verdict(page, report)
    write_stop(page, report, style="red")


def write_reasons(page: Page, report: Prediction) -> None:
    """Write the errors and a way out, which follow the opening."""
    for finding in report.findings:
        if finding.severity is Severity.ERROR:
            page.paragraph(f"{finding.code}: {finding.message}")
    if sentence := way_out(report):
        page.paragraph(sentence)


def write_verdict(page: Page, report: Prediction) -> None:
    """Write the verdict's sentence in the verdict's colour."""
    style = f"bold {VERDICT_WORDS[report.verdict][1]}".replace("bold dim", "bold")
    page.paragraph(verdict_sentence(report), style=style)


def write_stop(page: Page, report: Prediction, *, indent: int = 0, style: str = "") -> None:
    """Write where the step stops and PyTorch's message; nothing where it does not."""
    if report.oom is not None:
        page.paragraph(stop_sentence(report.oom, report.verdict), indent=indent)
        page.paragraph(report.oom.message, indent=indent + 2, style=style)


def verdict_sentence(report: Prediction) -> str:
    """One sentence for every verdict; "fits" speaks of the upper end only."""
    peak = report.peak
    budget = budget_name(report.target)
    if report.verdict is Verdict.FITS:
        return f"Fits {budget}: {_at_most(report)}."
    if report.verdict is Verdict.OVER:
        assert report.oom is not None
        return (
            f"Does not fit {budget}: the step stops in "
            f"{module_or_phase(report.oom.module, report.oom.phase)} asking for "
            f"{format_bytes(report.oom.requested_bytes)}."
        )
    if report.verdict is Verdict.DEPENDS:
        # What has to be reserved may not fit where all that is allocated would.
        is_reserved = peak.high_bytes <= (report.target.capacity_bytes or 0)
        most = f", up to {format_bytes(peak.high_reserved_bytes)} reserved" if is_reserved else ""
        return (
            f"May not fit {budget}: {between(peak)} are allocated at the peak{most}, "
            f"{_depending_on(report)}."
        )
    if report.verdict is Verdict.UNKNOWN:
        return (
            "No verdict: not everything in this step is modelled; what is takes "
            f"{format_bytes(peak.allocated_bytes)} at its peak."
        )
    ends = ""
    if peak.low_bytes != peak.high_bytes:
        ends = f" ({between(peak)}, {_depending_on(report)})"
    return (
        f"The step allocates {format_bytes(peak.allocated_bytes)} at its peak{ends}; --gpu NAME or "
        "--budget SIZE tells whether that fits."
    )


def _at_most(report: Prediction) -> str:
    peak, capacity = report.peak, report.target.capacity_bytes
    if capacity is None or peak.high_reserved_bytes <= capacity:
        return f"at most {format_bytes(peak.high_reserved_bytes)} are reserved"
    most = f"at most {format_bytes(peak.high_bytes)}"
    if peak.high_bytes > capacity:
        return (
            f"cuDNN does without the workspaces that do not fit; with them {most} would be "
            "allocated at the peak"
        )
    # The allocator gives cached segments back to CUDA before it gives up.
    return (
        f"{most} are allocated at the peak; of what it caches, the allocator has to give some back "
        "on the way"
    )


def _depending_on(report: Prediction) -> str:
    target = report.target
    if target.doubt_bytes and report.peak.high_reserved_bytes <= (target.capacity_bytes or 0):
        return f"and {format_bytes(target.doubt_bytes)} of the GPU are only assumed"
    widest = max(report.assumptions, key=lambda item: item.spread, default=None)
    if widest is not None and widest.low < widest.high:
        return "depending on the scene" if widest.site == SCENE_SITE else "depending on values"
    return "depending on the kernels that cuDNN picks"


def stop_sentence(oom: OutOfMemory, verdict: Verdict) -> str:
    """Where the step asks for what it cannot have, ahead of PyTorch's message."""
    part = "phase" if oom.phase == "optimizer" else "pass"
    what = f" ({oom.what})" if oom.what else ""
    when = f"in the {oom.phase} {part} of step {oom.step}{what}; PyTorch would say:"
    if verdict is Verdict.OVER:
        return f"It asks {when}"
    return f"At the upper end it stops in {module_or_phase(oom.module, oom.phase)}, {when}"


def way_out(report: Prediction) -> str:
    """Name the recommended plan, if the step may not fit; empty if there is nothing to say."""
    if report.verdict not in (Verdict.OVER, Verdict.DEPENDS) or not report.remedies:
        return ""
    plan = report.recommended
    if plan is None:
        count = sum(not plan.error and not plan.unsafe for plan in report.remedies)
        return f"No set of changes that was traced, of {count}, makes it fit."
    peak = format_bytes(plan.peak_allocated_bytes or 0)
    needs = f" It needs {' and '.join(plan.needs)}." if plan.needs else ""
    what = f"{plan.title} ({plan.id})" if plan.changes else "the channels that arrive"
    return f"With {what} it fits, at a peak of {peak}.{needs}"
