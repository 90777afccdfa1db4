"""`bevdiag doctor` as text."""

from collections.abc import Iterator

from bevdiag.doctor.examine import Checkup
from bevdiag.environment.environment import Environment
from bevdiag.errors import ExitCode
from bevdiag.report.amounts import format_bytes
from bevdiag.report.text.findings import write_findings
from bevdiag.report.text.prose import Page
from bevdiag.rules.finding import Confidence, Severity

_LABEL_COLUMN = 10
_STYLES = {ExitCode.FITS: "green", ExitCode.FINDINGS: "red", ExitCode.NO_VERDICT: "yellow"}


def write_doctor(page: Page, checkup: Checkup) -> None:
    """Write the verdict, what was looked at, what is wrong, and what is unknown."""
    page.paragraph(_sentence(checkup), style=f"bold {_STYLES[checkup.exit_code]}")
    page.heading("Looked at")
    page.labelled(_entries(checkup.environment), column=_LABEL_COLUMN)
    write_findings(page, checkup.findings)
    if checkup.unknown:
        page.heading("Cannot tell")
    for question in checkup.unknown:
        page.paragraph(question, indent=2)


def _sentence(checkup: Checkup) -> str:
    where = checkup.environment.source
    errors = [f for f in checkup.findings if f.severity is Severity.ERROR]
    certain = [f for f in errors if f.confidence is Confidence.CERTAIN]
    if certain:
        return f"{where}: a training will fail here: {certain[0].message}."
    if errors:
        return f"{where}: a training may fail here: {errors[0].message}."
    if checkup.unknown:
        return f"{where}: nothing wrong is to be seen, but not everything is known."
    if checkup.findings:
        return f"{where}: nothing stops a training; what is worth knowing is below."
    looked_at = ", ".join(checkup.looked_at) or "the list, which names nothing that is known"
    gpu = "" if checkup.environment.chips else "; no GPU was named (--gpu NAME)"
    return f"{where}: nothing wrong in what was looked at: {looked_at}{gpu}."


def _entries(environment: Environment) -> Iterator[tuple[str, str]]:
    packages = environment.packages
    if environment.python is not None:
        yield "Python", str(environment.python)
    names = [environment.torch, packages.get("numpy"), *packages.spconv(), *packages.cumm()]
    yield "Packages", ", ".join(str(p) for p in names if p is not None) or "none of interest"
    cuda = environment.torch_cuda()
    if environment.torch is not None:
        yield "CUDA", f"{cuda[0]}.{cuda[1]} in torch" if cuda is not None else "none in torch"
    driver = environment.driver
    if driver is not None:
        yield "Driver", f"{driver.version}, runs CUDA {driver.cuda[0]}"
    elif environment.is_installed:
        yield "Driver", "none that answers: what depends on it or on a GPU was not checked"
    for gpu in driver.gpus if driver is not None else ():
        free = format_bytes(gpu.total_bytes - gpu.used_bytes)
        yield f"GPU {gpu.index}", f"{gpu.name}, {free} of {format_bytes(gpu.total_bytes)} free"
    tried = [f"{p.stage} {'failed' if p.error or p.signal else 'ok'}" for p in environment.probes]
    if tried:
        yield "Imports", f"{', '.join(tried)}, in a process of their own"
