"""The distribution pynvml is deprecated; nvidia-ml-py provides its module.

What it means:
    Importing torch prints a FutureWarning, once for every process of a training. Old releases
    (before 12) also install an outdated module over the one that nvidia-ml-py installs.

Why it happens:
    Two distributions provide the module `pynvml`. NVIDIA maintains nvidia-ml-py; the one named
    pynvml is a wrapper around it now and says so.

How to fix:
    Uninstall pynvml and install nvidia-ml-py anew, since both own the same file.

Seen in:
    PrimeIntellect-ai/prime-rl#881 (https://github.com/PrimeIntellect-ai/prime-rl/issues/881): "The
    pynvml package is deprecated. Please install nvidia-ml-py instead."
"""

from collections.abc import Iterator

from bevdiag.environment.environment import Environment
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Finding


def check(environment: Environment) -> Iterator[Finding]:
    """Yield a finding where the distribution is there."""
    package = environment.packages.get("pynvml")
    if package is not None:
        yield finding(
            "BEV709",
            f"{package} is deprecated",
            location=package.location,
            detail=("Every `import torch` warns about it; nvidia-ml-py provides the module.",),
            command="python -m pip uninstall -y pynvml && "
            "python -m pip install --force-reinstall nvidia-ml-py",
        )
