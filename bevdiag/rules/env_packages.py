"""Rules about packages that cannot be imported or do not go together, spconv and cumm above all."""

import re
from collections.abc import Iterator

from packaging.version import Version

from bevdiag.environment.environment import Environment, install_spconv
from bevdiag.environment.packages import Package, Packages, cuda_suffix, is_spconv_1
from bevdiag.environment.wheels import (
    CudaVersion,
    first_cumm_for_numpy_2,
    spconv_for,
    spconv_line,
    spconv_lines,
    spconv_taken,
    suffix_cuda,
)
from bevdiag.memory.catalogue import cudnn_of_torch
from bevdiag.memory.conv import CUDNN_64BIT
from bevdiag.memory.device import parse_cudnn
from bevdiag.memory.profiles import CudnnVersion
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Confidence, Finding, Severity

_TESTS = {
    "torch": "import torch",
    "cumm": "import numpy; from cumm import tensorview as tv; tv.from_numpy(numpy.zeros(1))",
    "spconv": "import spconv.pytorch",
}
_BUILD = re.compile(r"cudnn(\d+(?:\.\d+)+)")
_PACKAGES = ("nvidia-cudnn-cu11", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "cudnn")
_PYG = re.compile(r"pt(\d)(\d+)(cu\d+|cpu)?")
_TORCH_LAST = re.compile(r"(cu\d+)?\.?torch(\d+)\.(\d+).*")
_TOGETHER = ("torchvision", "torchaudio")
"""Released with torch, whose local version says the CUDA alone."""


def import_fails(environment: Environment) -> Iterator[Finding]:
    """A library of the training cannot be imported, or kills the interpreter.

    What it means: The training ends before its first step: with a traceback where the import
        raises, without one where a signal ends the process.
    What is printed:
        No module named '...'
        cannot open shared object file: No such file or directory
        SIGSEGV
        Segmentation fault
    Why it happens: An extension module was compiled against another library than the one it meets:
        another cumm, another NumPy, a C++ library that is not there. What a C++ extension does then
        is anyone's guess; SIGFPE, SIGSEGV and SIGABRT are the common ends.
    How to fix: Fix the other findings about versions first. Else install the package that fails
        anew, with those that it depends on.
    Seen in: traveller59/spconv#655: "cannot import name 'CUDAEvent' from
        'cumm.core_cc.tensorview_bind'", for versions of cumm and spconv that do not match.
    """
    torch, cumms = environment.torch, environment.packages.cumm()
    beside = {"cumm": cumms, "spconv": (*environment.packages.spconv(), *cumms)}
    for probe in environment.probes:
        if not (probe.signal or probe.error):
            continue
        involved = beside.get(probe.stage, (torch,) if torch is not None else ())
        names = " ".join(f"{package.name}=={package.version}" for package in involved)
        how = f"dies of {probe.signal}" if probe.signal else f"fails: {probe.error}"
        yield finding(
            "BEV702",
            f"{probe.stage} {how}",
            detail=(
                f'It was tried in a process of its own: python -c "{_TESTS[probe.stage]}"',
                "A training ends at the same place.",
            ),
            command=f"python -m pip install --force-reinstall --no-deps {names}",
        )


def cudnn_without_64_bit_indices(environment: Environment) -> Iterator[Finding]:
    """cuDNN before 9.3 is bypassed where a sample has more than 2^31 - 1 elements.

    What it means: A convolution whose input or output exceeds 2^31 - 1 elements in one sample goes
        to a slow kernel, whose im2col buffer is the kernel's area times larger than the map.
        Smaller maps are not affected.
    Why it happens: PyTorch gives convolutions that need 64-bit indices to cuDNN 9.3 and later only.
        torch's default wheels bring cuDNN 9.1 up to torch 2.6, and 9.5 or later from torch 2.7 on.
    How to fix: Take torch 2.7 or later, or keep the BEV map below 2^31 elements: `bevdiag inspect`
        says how large it is.
    Seen in: pytorch/pytorch#128947: 161.37 GiB asked for by one convolution whose sample is beyond
        32-bit indices.
    """
    torch = environment.torch
    cudnn = cudnn_version(environment)
    if torch is None or cudnn is None or cudnn >= CUDNN_64BIT:
        return
    named = f"cuDNN {'.'.join(map(str, cudnn))}"
    if torch.version is not None and not cudnn_of_torch(str(torch.version))[1]:
        named = f"the cuDNN of torch {torch.version}"  # older than those that are listed
    yield finding(
        "BEV708",
        f"{named} cannot index more than 2^31 - 1 elements",
        location=torch.location,
        detail=(
            "A BEV map beyond that makes PyTorch ask for an im2col buffer nine times its size in "
            "a 3 x 3 convolution: 75.10 GiB for 22,400 channels on 200 x 500 cells.",
        ),
        command='python -m pip install "torch>=2.7"',
    )


def cudnn_version(environment: Environment) -> CudnnVersion | None:
    """Return the cuDNN that torch loads; None for a CPU build, or where nothing tells."""
    probe, torch = environment.probe("torch"), environment.torch
    if probe is not None and probe.facts:
        number = probe.facts.get("cudnn")
        return parse_cudnn(str(number)) if number else None
    if torch is None or environment.torch_cuda() is None:
        return None
    if match := _BUILD.search(torch.build):
        return parse_cudnn(match[1])
    package = environment.packages.get(*_PACKAGES)
    if package is not None and package.version is not None:
        return parse_cudnn(".".join(map(str, package.version.release[:3])))
    if torch.version is None or torch.version.local is not None:
        return None  # a range of versions, or a wheel of another index than the default one
    return parse_cudnn(cudnn_of_torch(str(torch.version))[0])


def pynvml_deprecated(environment: Environment) -> Iterator[Finding]:
    """The distribution pynvml is deprecated; nvidia-ml-py provides its module.

    What it means: Importing torch prints a FutureWarning, once for every process of a training. Old
        releases (before 12) also install an outdated module over the one that nvidia-ml-py
        installs.
    Why it happens: Two distributions provide the module `pynvml`. NVIDIA maintains nvidia-ml-py;
        the one named pynvml is a wrapper around it now and says so.
    How to fix: Uninstall pynvml and install nvidia-ml-py anew, since both own the same file.
    Seen in: PrimeIntellect-ai/prime-rl#881: "The pynvml package is deprecated. Please install
        nvidia-ml-py instead."
    """
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


def extension_for_another_torch(environment: Environment) -> Iterator[Finding]:
    """An extension of torch was built for another torch, or another CUDA, than the one it meets.

    What it means: Its import fails with an undefined symbol, or it stops because its CUDA is not
        torch's.
    What is printed:
        undefined symbol: ...
        compiled with different CUDA versions
        Detected that PyTorch and ... were compiled with different CUDA
        cannot import name '..._cuda'
    Why it happens: Extensions such as torch-scatter are compiled against one torch and say which in
        their version: 2.0.9+pt112cu113 is for torch 1.12 with CUDA 11.3. pip compares none of that,
        and an upgrade of torch leaves them behind.
    How to fix: Install the extension's wheel for the torch that is there, after every change of
        torch. What the repository compiles itself has to be compiled again.
    Seen in: rusty1s/pytorch_scatter#153: an undefined symbol after an upgrade to torch 1.6.
    """
    torch = environment.torch
    version = torch.version if torch is not None else None
    if torch is None or version is None:
        return
    cuda = environment.torch_cuda()
    for name, package in sorted(environment.packages.by_name.items()):
        built = built_for(package)
        if built is None:
            continue
        release, built_cuda = built
        wrong = release is not None and release != (version.major, version.minor)
        other = built_cuda is not None and cuda is not None and not _together(built_cuda, cuda)
        if not wrong and not other:
            continue
        yield finding(
            "BEV712",
            f"{package} is built for {_named(release, built_cuda)}, and {torch} is there"
            + (f" with CUDA {cuda[0]}.{cuda[1]}" if cuda is not None else ""),
            location=package.location,
            detail=("Its import fails, or its first operation does.",),
            command=_command(name, f"{version.major}.{version.minor}.0", cuda),
        )


def built_for(package: Package) -> tuple[tuple[int, int] | None, CudaVersion | None] | None:
    """Return the torch and the CUDA that a package's version names; None where it names neither."""
    local = package.version.local if package.version is not None else None
    if local is None or package.name == "torch":
        return None
    if match := _PYG.fullmatch(local):
        return (int(match[1]), int(match[2])), suffix_cuda(match[3] or "")
    if match := _TORCH_LAST.match(local):
        # Such wheels name the major version of CUDA alone.
        return (int(match[2]), int(match[3])), None
    if package.name in _TOGETHER and (cuda := suffix_cuda(local)) is not None:
        return None, cuda
    return None


def _together(one: CudaVersion, other: CudaVersion) -> bool:
    """Whether libraries of both go together: from CUDA 11 on the minor version does not matter."""
    return one == other if min(one, other)[0] < 11 else one[0] == other[0]


def _named(release: tuple[int, int] | None, cuda: CudaVersion | None) -> str:
    torch = f"torch {release[0]}.{release[1]}" if release is not None else ""
    built = f"CUDA {cuda[0]}.{cuda[1]}" if cuda is not None else ""
    return " with ".join(part for part in (torch, built) if part)


def _command(name: str, torch: str, cuda: CudaVersion | None) -> str:
    index = f"cu{cuda[0]}{cuda[1]}" if cuda is not None else "cpu"
    remove = f"python -m pip uninstall -y {name} && python -m pip install {name}"
    if name in _TOGETHER:
        return f"{remove} --index-url https://download.pytorch.org/whl/{index}"
    return f"{remove} -f https://data.pyg.org/whl/torch-{torch}+{index}.html"


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
        line = spconv_line(taken)
        # What pip would take beside it: an old line's upper bound keeps cumm below the first.
        if line is not None and not line.cumm.contains(first):
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
    line = spconv_line(taken)
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
    python = environment.python
    for package in environment.packages.spconv():
        taken = spconv_taken(package)
        line = spconv_line(taken)
        if line is None or line.pythons.hold(python):
            continue
        newest = spconv_lines()[0].pythons
        command = f"conda create -n training python={newest.last}"
        if newest.hold(python):
            command = install_spconv(environment, environment.torch_cuda())
        yield finding(
            "BEV704",
            f"{package.name} {taken} has no wheel for Python {python.major}.{python.minor}",
            location=package.location,
            detail=(f"Its wheels are for Python {line.pythons.first} to {line.pythons.last}.",),
            command=command,
        )


def spconv_for_another_cuda(environment: Environment) -> Iterator[Finding]:
    """spconv was built with another major version of CUDA than torch, or with none.

    What it means: Both bring their own CUDA runtime into one process. They work side by side as
        long as the driver runs both; extensions that are compiled against one of them and meet the
        other do not. The distribution that is named spconv alone has no CUDA at all, and stops at
        the first convolution on a GPU.
    What is printed:
        not implemented for CPU ONLY build
    Why it happens: spconv's distributions carry the CUDA version in their name, torch's wheels
        carry theirs inside; nothing compares the two. Minor versions are compatible within a major
        one.
    How to fix: Take the spconv of torch's major version where there is one.
    Seen in: traveller59/spconv#752: which spconv goes with CUDA 12.8, for which there is no
        distribution: spconv-cu126 does.
    """
    torch, cuda = environment.torch, environment.torch_cuda()
    if torch is None or cuda is None:
        return
    built_with = f"{torch} with CUDA {cuda[0]}.{cuda[1]}"
    wanted = suffix_cuda(spconv_for(cuda).partition("-")[2].partition("==")[0])
    for package in environment.packages.spconv():
        built = suffix_cuda(cuda_suffix(package))
        severity, confidence = None, None
        if built is None and not is_spconv_1(package):
            message = f"{package} is built without CUDA, {built_with}"
            lesson = "Its convolutions run on the CPU alone, and refuse the GPU's tensors."
            severity = Severity.ERROR
            if environment.is_installed:
                confidence = Confidence.LIKELY  # one that was compiled here may be named like it
        elif built is not None and wanted is not None and wanted[0] == cuda[0] != built[0]:
            # Else there is none of torch's major version yet.
            message = f"{package.name} is built with CUDA {built[0]}, {built_with}"
            lesson = "Two CUDA runtimes in one process work only as long as the driver runs both."
        else:
            continue
        yield finding(
            "BEV706",
            message,
            severity=severity,
            confidence=confidence,
            location=package.location,
            detail=(lesson,),
            command=install_spconv(environment, cuda),
        )
