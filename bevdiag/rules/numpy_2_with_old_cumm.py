"""NumPy 2 is there, and spconv's arrays come through a cumm that was built for NumPy 1.

What it means:
    The training dies of a floating point exception (SIGFPE, exit code 136) without a Python
    traceback, as soon as an array is handed to spconv: in the voxel generator, or in the first
    convolution. The import itself succeeds.

What is printed:
    Floating point exception

    floating-point exception encountered in worker

    SIGFPE

    A module that was compiled using NumPy 1.x cannot be run in NumPy 2

    numpy.core.multiarray failed to import

Why it happens:
    cumm before 0.5.3 was compiled with a pybind11 that knows the array descriptors of NumPy 1 only.
    NumPy 2 moved the item size in them; cumm reads a zero there and divides by it. spconv up to
    2.3.6 takes no newer cumm, and neither of them tells pip to keep NumPy below 2.

How to fix:
    Keep NumPy 1, or take spconv 2.3.8, whose cumm reads both.

Seen in:
    traveller59/spconv#725 (https://github.com/traveller59/spconv/issues/725) and
    open-mmlab/OpenPCDet#1642 (https://github.com/open-mmlab/OpenPCDet/issues/1642): training ends
    with "Floating point exception (core dumped)" at the first sparse convolution or voxel.
"""

from collections.abc import Iterator

from packaging.version import Version

from bevdiag.environment.commands import install_spconv
from bevdiag.environment.environment import Environment
from bevdiag.environment.packages import Packages
from bevdiag.environment.wheels import (
    first_cumm_for_numpy_2,
    spconv_line,
    spconv_taken,
)
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Confidence, Finding


def check(environment: Environment) -> Iterator[Finding]:
    """Yield a finding where NumPy 2 meets, or a fresh install would make it meet, such a cumm."""
    packages = environment.packages
    cumm = _cumm_for_numpy_1(packages)
    numpy = packages.get("numpy")
    if cumm is None or (numpy is None and environment.is_installed):
        return
    if numpy is not None and not numpy.admits_major(2):
        return
    is_pinned = numpy is not None and numpy.version is not None
    what = f"{numpy} is there" if is_pinned else f"{numpy or 'numpy'} lets pip take NumPy 2"
    yield finding(
        "BEV701",
        f"{what}, and {cumm} was built for NumPy 1",
        confidence=None if is_pinned else Confidence.LIKELY,
        location=numpy.location if numpy is not None else None,
        detail=(
            "The first array that is handed to spconv ends the process with SIGFPE (exit code "
            "136), without a traceback.",
            "Or keep NumPy and take a spconv whose cumm reads NumPy 2: "
            f"{install_spconv(environment, environment.torch_cuda())}",
        ),
        command='python -m pip install "numpy<2"',
    )


def _cumm_for_numpy_1(packages: Packages) -> str | None:
    """How to call the old cumm; None where there is none, or a newer one."""
    first = first_cumm_for_numpy_2()
    for cumm in packages.cumm():
        if cumm.version is not None:
            return str(cumm) if cumm.version < first else None
    for spconv in packages.spconv():
        taken = spconv_taken(spconv)
        line = spconv_line(taken) if taken is not None else None
        # What pip would take beside it: an old line's upper bound keeps cumm below the first.
        if line is not None and not line.cumm.contains(Version(str(first))):
            newer = [clause for clause in line.cumm if clause.operator.startswith(">")]
            if all(Version(clause.version) < first for clause in newer):
                return f"the cumm of {spconv.name} {taken} ({line.cumm})"
    return None
