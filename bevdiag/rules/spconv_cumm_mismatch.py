"""spconv and cumm do not belong together, or there is more than one of them.

What it means:
    Importing spconv fails with an ImportError from cumm, or with "type not registered yet?".

What is printed:
    cannot import name '...' from 'cumm...'

    type not registered yet

Why it happens:
    Every release of spconv is compiled against one line of cumm. And each CUDA version has
    distributions of its own, spconv-cu118 and spconv-cu120, which install the same module: a second
    one overwrites files of the first, and pip does not mind.

How to fix:
    Uninstall every spconv and cumm, then install one spconv; pip brings the cumm that it needs.

Seen in:
    traveller59/spconv#508 (https://github.com/traveller59/spconv/issues/508): "cannot import name
    'NVRTCMode'", two versions of cumm in one environment; Luoyadan/CRB-active-3Ddet#7
    (https://github.com/Luoyadan/CRB-active-3Ddet/issues/7): spconv 2.1.21 with cumm 0.4.9.
"""

from collections.abc import Iterator

from bevdiag.environment.commands import install_spconv
from bevdiag.environment.environment import Environment
from bevdiag.environment.packages import Package, cuda_suffix, is_spconv_1
from bevdiag.environment.wheels import spconv_line, spconv_taken
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Finding


def check(environment: Environment) -> Iterator[Finding]:
    """Yield a finding where there are several of one kind, or two that do not match."""
    spconvs, cumms = environment.packages.spconv(), environment.packages.cumm()
    for kind, found in (("spconv", spconvs), ("cumm", cumms)):
        if len(found) > 1:
            names = ", ".join(map(str, found))
            yield _mismatch(environment, f"several {kind} install the same module: {names}", found)
    if len(spconvs) == len(cumms) == 1 and (reason := _disagreement(spconvs[0], cumms[0])):
        yield _mismatch(environment, reason, spconvs)
    # spconv 1 has no cumm: it was compiled whole.
    if spconvs and not cumms and environment.is_installed and not is_spconv_1(spconvs[0]):
        yield _mismatch(environment, f"{spconvs[0]} is there without cumm", spconvs)


def _disagreement(spconv: Package, cumm: Package) -> str:
    taken = spconv_taken(spconv)
    line = spconv_line(taken) if taken is not None else None
    if cuda_suffix(spconv) != cuda_suffix(cumm):
        return f"{spconv} and {cumm} are built for different CUDA versions"
    if line is not None and cumm.version is not None and not line.cumm.contains(cumm.version):
        return f"{spconv.name} {taken} needs cumm {line.cumm}, and {cumm} is there"
    return ""


def _mismatch(environment: Environment, message: str, blamed: tuple[Package, ...]) -> Finding:
    return finding(
        "BEV703",
        message,
        location=blamed[-1].location,
        detail=("spconv cannot be imported, or only by luck.",),
        command=install_spconv(environment, environment.torch_cuda()),
    )
