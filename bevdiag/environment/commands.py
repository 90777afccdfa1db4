"""The commands that put an environment right: what pip would take here, and nothing it lacks."""

from bevdiag.environment.environment import Environment
from bevdiag.environment.packages import cuda_suffix
from bevdiag.environment.wheels import (
    CudaVersion,
    TorchRelease,
    newest_torch_for,
    spconv_for,
    suffix_cuda,
    torch_command,
)

_NEW_PYTHON = "conda create -n training python=3.11"


def install_torch(environment: Environment, capability: int | None = None) -> str:
    """Install a torch that Python, driver and GPU can take, and the spconv that goes with it.

    Args:
        environment: what is there.
        capability: the GPU's compute capability, 8.6 as 86; None where no GPU was named.
    """
    limit = environment.driver.cuda if environment.driver is not None else None
    python = environment.python
    if python is None:
        return torch_command(limit, capability) + _spconv_beside(environment, None)
    release = newest_torch_for(python)
    index = release.index_for(limit, capability) if release is not None else None
    if release is None or (index is None and not release.is_newest):
        # No torch with a wheel for this Python knows the GPU, or runs with the driver.
        return f"{_NEW_PYTHON}, and there: {torch_command(limit, capability)}"
    if release.is_newest:
        return torch_command(limit, capability) + _spconv_beside(environment, index)
    return _pinned(release, index) + _spconv_beside(environment, index)


def install_spconv(environment: Environment, cuda: CudaVersion | None) -> str:
    """Remove every spconv and cumm, which share a module, and install the one that fits."""
    beside = (*environment.packages.spconv(), *environment.packages.cumm())
    names = " ".join(package.name for package in beside)
    wanted = f"python -m pip install {spconv_for(cuda, environment.python)}"
    return f"python -m pip uninstall -y {names} && {wanted}" if names else wanted


def _pinned(release: TorchRelease, index: str | None) -> str:
    where = f" --index-url https://download.pytorch.org/whl/{index}" if index else ""
    return f"python -m pip install --upgrade --force-reinstall torch=={release.torch}{where}"


def _spconv_beside(environment: Environment, index: str | None) -> str:
    """Say what must be done to spconv once torch comes from that index; empty for nothing."""
    cuda = suffix_cuda(index) if index is not None else None
    built = [suffix_cuda(cuda_suffix(package)) for package in environment.packages.spconv()]
    if cuda is None or all(one is None or one[0] == cuda[0] for one in built):
        return ""
    return f" && {install_spconv(environment, cuda)}"
