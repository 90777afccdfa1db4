"""GPUs that bevdiag knows, and which cuDNN comes with which torch; both are data files."""

import json
import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Any

from bevdiag.errors import InputError

_OF_ANOTHER_MAKER = re.compile(r"(amd|radeon|instinct|rx\d|mi\d{2,3}|intel|arc[ab]\d|gaudi|ascend)")
_NUMBER = re.compile(r"\d{2,}")
_BUDGET = "--budget SIZE takes what the process may have, whatever the GPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU model.

    Attributes:
        name: canonical name, as `--gpu` takes it.
        aliases: other names it is found under.
        total_bytes: memory as CUDA reports it (`totalGlobalMem`), which is less than NVML's total.
        total_source: where that figure comes from.
        compute_capability: (major, minor).
        multiprocessors: number of streaming multiprocessors.
        is_shown: whether reports judge the step by it where nobody named a GPU.
        total_doubt_bytes: how much less the total may be, 0 where it was measured or reported.
    """

    name: str
    aliases: tuple[str, ...]
    total_bytes: int
    total_source: str
    compute_capability: tuple[int, int]
    multiprocessors: int
    is_shown: bool = True
    total_doubt_bytes: int = 0

    @property
    def usable_bytes(self) -> int:
        """What the caching allocator may reserve on an otherwise idle device."""
        return self.total_bytes - assumed_context().nbytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a process holds outside the allocator (CUDA context, kernels, handles).

    Attributes:
        nbytes: where no profile says it.
        at_most_bytes: the most that was measured.
        source: where the figures come from.
    """

    nbytes: int
    at_most_bytes: int
    source: str


@cache
def all_gpus() -> tuple[Gpu, ...]:
    """Return the catalogue, smallest memory first."""
    data = _read("gpus.json")
    gpus = (_gpu(entry, data["assumed_total"]["spread"]) for entry in data["gpus"])
    return tuple(sorted(gpus, key=lambda gpu: (gpu.total_bytes, gpu.name)))


@cache
def assumed_context() -> Context:
    """Return what a process is taken to hold on a GPU that has no profile."""
    return Context(**_read("gpus.json")["assumed_context"])


def gpu_called(name: str) -> Gpu | None:
    """Return the GPU of that name or alias, None if the catalogue has none."""
    return next((gpu for gpu in all_gpus() if same_gpu(gpu, name)), None)


def same_gpu(gpu: Gpu, name: str) -> bool:
    """Whether the GPU goes by that name; case, blanks, `-` and `_` do not matter."""
    return _key(name) in map(_key, (gpu.name, *gpu.aliases))


def find_gpu(name: str) -> Gpu:
    """Return the GPU of that name or alias; case, blanks, `-` and `_` do not matter.

    Raises:
        InputError: no such GPU, or several; the message names the nearest ones.
    """
    known = gpu_called(name)
    if known is not None:
        return known
    if _OF_ANOTHER_MAKER.match(_key(name)):
        raise InputError(
            f"GPU {name!r} is none of NVIDIA's: cuDNN's workspaces, spconv's kernels and the "
            f"context are CUDA's in every figure here; {_BUDGET}"
        )
    families = ((gpu.name, gpu.name.rpartition("-")[0]) for gpu in all_gpus())
    variants = [full for full, family in families if family and _key(family) == _key(name)]
    if variants:
        raise InputError(f"GPU {name!r} says nothing of its memory: take {' or '.join(variants)}")
    near = ", ".join(_nearest(name))
    hint = f"did you mean {near}?" if near else "bevdiag gpus lists those that are;"
    raise InputError(f"GPU {name!r} is not in the catalogue: {hint} {_BUDGET}")


def _nearest(name: str) -> tuple[str, ...]:
    """Return the GPUs of the same number, as 4090 in "4090 D"; else those that are spelt alike."""
    names = {_key(known): gpu for gpu in all_gpus() for known in (gpu.name, *gpu.aliases)}
    key = _key(name)
    number = _NUMBER.search(key)
    alike = [known for known in names if number is not None and number[0] in known]
    near = get_close_matches(key, alike, n=4, cutoff=0.3) or get_close_matches(key, names, n=4)
    return tuple(dict.fromkeys(names[known].name for known in near))


def cudnn_of_torch(version: str) -> tuple[str, bool]:
    """Return the cuDNN that the default PyPI wheel of a torch version pins, and if it is listed.

    A version that is not listed gets that of the newest listed one before it, or of the oldest; a
    text without numbers is taken for the newest.
    """
    wheels = _read("torch_cudnn.json")["wheels"]
    table = {torch_release(torch): cudnn for torch, cudnn in wheels.items()}
    wanted = torch_release(version)
    for release in sorted(table, reverse=True):
        if release[:2] == wanted[:2] or release < wanted:
            return table[release], release[:2] == wanted[:2]
    return table[min(table) if wanted else max(table)], False


def torch_release(version: str) -> tuple[int, ...]:
    """Return the numbers of a torch version; of a nightly or a candidate, only the first two."""
    digits = version.partition("+")[0].split(".")[:3]
    try:
        return tuple(int(part) for part in digits)
    except ValueError:
        # A nightly such as 2.14.0.dev20261101 or a release candidate such as 2.13.0rc1.
        return tuple(int(part) for part in digits[:2] if part.isdigit())


def same_release(version: str, other: str) -> bool:
    """Whether two versions of torch are of one minor release."""
    return torch_release(version)[:2] == torch_release(other)[:2]


def _gpu(entry: dict[str, Any], spread: float) -> Gpu:
    major, minor = entry["compute_capability"]
    is_assumed = entry["source"].startswith("assumption")
    return Gpu(
        name=entry["name"],
        aliases=tuple(entry["aliases"]),
        total_bytes=entry["total_bytes"],
        total_source=entry["source"],
        compute_capability=(major, minor),
        multiprocessors=entry["multiprocessors"],
        is_shown=entry.get("shown", True),
        total_doubt_bytes=round(entry["total_bytes"] * spread) if is_assumed else 0,
    )


def _key(name: str) -> str:
    kept = "".join(letter for letter in name.lower() if letter.isalnum())
    return kept.removeprefix("nvidia").removeprefix("geforce")


def _read(name: str) -> Any:
    return json.loads(resources.files("bevdiag.memory").joinpath("data", name).read_text("utf-8"))
