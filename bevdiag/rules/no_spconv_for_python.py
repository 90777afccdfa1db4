"""There is no wheel of this spconv for this Python.

What it means:
    pip says "No matching distribution found", or builds from source, which needs a CUDA toolkit and
    a matching compiler and mostly fails.

Why it happens:
    spconv-cu120 and the other distributions that ended with 2.3.6 have wheels for Python 3.7 to
    3.11, those of 2.3.7 and 2.3.8 for Python 3.9 to 3.13.

How to fix:
    Take a distribution that has a wheel, or make the environment with another Python.

Seen in:
    microsoft/TRELLIS#201 (https://github.com/microsoft/TRELLIS/issues/201): "No matching
    distribution found for spconv-cu120" on Python 3.12.
"""

from collections.abc import Iterator

from packaging.version import Version

from bevdiag.environment.commands import install_spconv
from bevdiag.environment.environment import Environment
from bevdiag.environment.wheels import newest_spconv_line, spconv_line, spconv_taken
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Finding


def check(environment: Environment) -> Iterator[Finding]:
    """Yield a finding where the list wants an spconv that its Python cannot have."""
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
