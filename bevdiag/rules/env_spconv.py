"""Rules about spconv and cumm, and what they were built for."""

from collections.abc import Iterator

from packaging.version import Version

from bevdiag.environment.commands import install_spconv
from bevdiag.environment.environment import Environment
from bevdiag.environment.packages import Package, Packages, cuda_suffix, is_spconv_1
from bevdiag.environment.wheels import (
    first_cumm_for_numpy_2,
    newest_spconv_line,
    spconv_for,
    spconv_line,
    spconv_taken,
    suffix_cuda,
)
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Confidence, Finding


def numpy_2_with_old_cumm(environment: Environment) -> Iterator[Finding]:
    """NumPy 2 is there, and spconv's arrays come through a cumm that was built for NumPy 1.

    What it means: The training dies of a floating point exception (SIGFPE, exit code 136) without a
        Python traceback, as soon as an array is handed to spconv: in the voxel generator, or in the
        first convolution. The import itself succeeds.
    What is printed:
        Floating point exception
        floating-point exception encountered in worker
        SIGFPE
        A module that was compiled using NumPy 1.x cannot be run in NumPy 2
        numpy.core.multiarray failed to import
    Why it happens: cumm before 0.5.3 was compiled with a pybind11 that knows the array descriptors
        of NumPy 1 only. NumPy 2 moved the item size in them; cumm reads a zero there and divides by
        it. spconv up to 2.3.6 takes no newer cumm, and neither of them tells pip to keep NumPy
        below 2.
    How to fix: Keep NumPy 1, or take spconv 2.3.8, whose cumm reads both.
    Seen in: traveller59/spconv#725 and open-mmlab/OpenPCDet#1642: training ends with "Floating
        point exception (core dumped)" at the first sparse convolution or voxel.
    """
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


def spconv_cumm_mismatch(environment: Environment) -> Iterator[Finding]:
    """spconv and cumm do not belong together, or there is more than one of them.

    What it means: Importing spconv fails with an ImportError from cumm, or with "type not
        registered yet?".
    What is printed:
        cannot import name '...' from 'cumm...'
        type not registered yet
    Why it happens: Every release of spconv is compiled against one line of cumm. And each CUDA
        version has distributions of its own, spconv-cu118 and spconv-cu120, which install the same
        module: a second one overwrites files of the first, and pip does not mind.
    How to fix: Uninstall every spconv and cumm, then install one spconv; pip brings the cumm that
        it needs.
    Seen in: traveller59/spconv#508: "cannot import name 'NVRTCMode'", two versions of cumm in one
        environment; Luoyadan/CRB-active-3Ddet#7: spconv 2.1.21 with cumm 0.4.9.
    """
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


def no_spconv_for_python(environment: Environment) -> Iterator[Finding]:
    """There is no wheel of this spconv for this Python.

    What it means: pip says "No matching distribution found", or builds from source, which needs a
        CUDA toolkit and a matching compiler and mostly fails.
    Why it happens: spconv-cu120 and the other distributions that ended with 2.3.6 have wheels for
        Python 3.7 to 3.11, those of 2.3.7 and 2.3.8 for Python 3.9 to 3.13.
    How to fix: Take a distribution that has a wheel, or make the environment with another Python.
    Seen in: microsoft/TRELLIS#201: "No matching distribution found for spconv-cu120" on Python
        3.12.
    """
    if environment.is_installed or environment.python is None:
        return
    python = Version(f"{environment.python.major}.{environment.python.minor}")
    for package in environment.packages.spconv():
        taken = spconv_taken(package)
        line = spconv_line(taken) if taken is not None else None
        if line is None or line.pythons[0] <= python <= line.pythons[1]:
            continue
        first, last = newest_spconv_line().pythons
        if first <= python <= last:
            command = install_spconv(environment, environment.torch_cuda())
        else:
            command = f"conda create -n training python={last}"
        yield finding(
            "BEV704",
            f"{package.name} {taken} has no wheel for Python {python}",
            location=package.location,
            detail=(f"Its wheels are for Python {line.pythons[0]} to {line.pythons[1]}.",),
            command=command,
        )


def spconv_for_another_cuda(environment: Environment) -> Iterator[Finding]:
    """spconv was built with another major version of CUDA than torch.

    What it means: Both bring their own CUDA runtime into one process. They work side by side as
        long as the driver runs both; extensions that are compiled against one of them and meet the
        other do not.
    Why it happens: spconv's distributions carry the CUDA version in their name, torch's wheels
        carry theirs inside; nothing compares the two. Minor versions are compatible within a major
        one.
    How to fix: Take the spconv of torch's major version where there is one.
    Seen in: traveller59/spconv#752: which spconv goes with CUDA 12.8, for which there is no
        distribution: spconv-cu126 does.
    """
    torch, cuda = environment.torch, environment.torch_cuda()
    wanted = spconv_for(cuda)
    wanted_cuda = suffix_cuda(wanted.partition("-")[2].partition("==")[0])
    for package in environment.packages.spconv():
        built = suffix_cuda(cuda_suffix(package))
        if torch is None or cuda is None or built is None or built[0] == cuda[0]:
            continue
        if wanted_cuda is None or wanted_cuda[0] == built[0]:
            continue  # there is none of torch's major version yet
        yield finding(
            "BEV706",
            f"{package.name} is built with CUDA {built[0]}, {torch} with CUDA {cuda[0]}.{cuda[1]}",
            location=package.location,
            detail=("Two CUDA runtimes in one process work only as long as the driver runs both.",),
            command=install_spconv(environment, cuda),
        )
