"""spconv was built with another major version of CUDA than torch.

What it means:
    Both bring their own CUDA runtime into one process. They work side by side as long as the driver
    runs both; extensions that are compiled against one of them and meet the other do not.

Why it happens:
    spconv's distributions carry the CUDA version in their name, torch's wheels carry theirs inside;
    nothing compares the two. Minor versions are compatible within a major one.

How to fix:
    Take the spconv of torch's major version where there is one.

Seen in:
    traveller59/spconv#752 (https://github.com/traveller59/spconv/issues/752): which spconv goes
    with CUDA 12.8, for which there is no distribution: spconv-cu126 does.
"""

from collections.abc import Iterator

from bevdiag.environment.commands import install_spconv
from bevdiag.environment.environment import Environment
from bevdiag.environment.packages import cuda_suffix
from bevdiag.environment.wheels import spconv_for, suffix_cuda
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Finding


def check(environment: Environment) -> Iterator[Finding]:
    """Yield a finding where a better matching spconv exists."""
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
