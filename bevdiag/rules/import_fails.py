"""A library of the training cannot be imported, or kills the interpreter.

What it means:
    The training ends before its first step: with a traceback where the import raises, without one
    where a signal ends the process.

What is printed:
    No module named '...'

    cannot open shared object file: No such file or directory

    SIGSEGV

    Segmentation fault

Why it happens:
    An extension module was compiled against another library than the one it meets: another cumm,
    another NumPy, a C++ library that is not there. What a C++ extension does then is anyone's
    guess; SIGFPE, SIGSEGV and SIGABRT are the common ends.

How to fix:
    Fix the other findings about versions first. Else install the package that fails anew, with
    those that it depends on.

Seen in:
    traveller59/spconv#655 (https://github.com/traveller59/spconv/issues/655): "cannot import name
    'CUDAEvent' from 'cumm.core_cc.tensorview_bind'", for versions of cumm and spconv that do not
    match.
"""

from collections.abc import Iterator

from bevdiag.environment.environment import Environment
from bevdiag.environment.imports import ImportProbe
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Finding

_TESTS = {
    "torch": "import torch",
    "cumm": "import numpy; from cumm import tensorview as tv; tv.from_numpy(numpy.zeros(1))",
    "spconv": "import spconv.pytorch",
}


def check(environment: Environment) -> Iterator[Finding]:
    """Yield a finding for every import that a child process did not survive or that raised."""
    for probe in environment.probes:
        if probe.signal or probe.error:
            yield _failed(environment, probe)


def _failed(environment: Environment, probe: ImportProbe) -> Finding:
    packages = environment.packages
    beside = {"cumm": packages.cumm(), "spconv": (*packages.spconv(), *packages.cumm())}
    torch = environment.torch
    involved = beside.get(probe.stage, (torch,) if torch is not None else ())
    names = " ".join(f"{package.name}=={package.version}" for package in involved)
    how = f"dies of {probe.signal}" if probe.signal else f"fails: {probe.error}"
    return finding(
        "BEV702",
        f"{probe.stage} {how}",
        detail=(
            f'It was tried in a process of its own: python -c "{_TESTS[probe.stage]}"',
            "A training ends at the same place.",
        ),
        command=f"python -m pip install --force-reinstall --no-deps {names}",
    )
