"""Device profiles: what was measured on one GPU, with one torch and cuDNN, as data.

`bevdiag calibrate` writes them, predictions for the same GPU and libraries use them: a convolution
that was measured asks for exactly what it asked for then, because cuDNN's heuristics choose by
shapes, types and the chip alone. A profile is a JSON file with a version of its own; those that
come with bevdiag lie in configs/devices/.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from bevdiag.files.reading import read_json
from bevdiag.files.shipped import shipped_file
from bevdiag.memory.catalogue import torch_release
from bevdiag.memory.requests import ConvCall

FOLDER = "configs/devices"
MAX_BYTES = 2**24
_REMEDY = "expected a device profile as `bevdiag calibrate` writes it"
CudnnVersion = tuple[int, int, int]
MEASURED_GPU = "h200"
LIKE_THE_NEWEST = (9, 5, 0)
"""From here on, cuDNN is taken to do what 9.19 does."""
FIRST_NINE = (9, 0, 0)
"""Before this version a pointwise convolution may be handed to cuBLAS, with a workspace of its
own."""
_GENERATIONS: tuple[tuple[CudnnVersion, str, CudnnVersion], ...] = (
    (LIKE_THE_NEWEST, "2.11.0", (9, 19, 0)),
    (FIRST_NINE, "2.5.1", (9, 1, 0)),
    ((0, 0, 0), "2.1.2", (8, 9, 2)),
)
"""From which version on, the torch and cuDNN of the profile that shows what it does."""
DTYPE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
DIRECTIONS = ("forward", "dgrad", "wgrad")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class BenchmarkBytes(_Strict):
    """What a convolution asked for with `cudnn.benchmark`.

    `trial_bytes` is the largest workspace of the algorithms that the first call tries,
    `steady_bytes` that of the fastest one, which later calls use. Which one is fastest may differ
    from run to run.
    """

    trial_bytes: NonNegativeInt
    steady_bytes: NonNegativeInt


class MeasuredGpu(_Strict):
    """The GPU as CUDA reports it, e.g. "NVIDIA H200"; `compute_capability` is (major, minor)."""

    name: str
    total_bytes: PositiveInt
    compute_capability: tuple[NonNegativeInt, NonNegativeInt]
    multiprocessors: PositiveInt


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeviceProfile:
    """What was measured on one machine; compared by identity, so that targets stay hashable.

    Attributes:
        torch: version, local part included.
        cudnn: (major, minor, patch).
        cuda: version that torch was built for.
        driver: version, empty where NVML did not tell.
        context_bytes: what a process that trained dense layers holds outside the allocator.
        spconv: version, None where it was not installed.
        context_with_spconv_bytes: the same after sparse convolutions, None without spconv.
        cublas_workspace_bytes: by thread, "main" and "autograd".
        workspaces: what each convolution asks for with `cudnn.benchmark` off.
        benchmarked: and with it on.
        crashed: what ended the process that measured it; nothing is known of its workspace.
    """

    gpu: MeasuredGpu
    torch: str
    cudnn: CudnnVersion
    cuda: str
    driver: str
    context_bytes: int
    spconv: str | None
    context_with_spconv_bytes: int | None
    cublas_workspace_bytes: Mapping[str, int]
    workspaces: Mapping[ConvCall, int]
    benchmarked: Mapping[ConvCall, BenchmarkBytes] = field(default_factory=dict)
    crashed: frozenset[ConvCall] = frozenset()

    @property
    def words(self) -> str:
        """Name the machine and its libraries."""
        return f"{self.gpu.name}, torch {self.torch}, cuDNN {dotted(self.cudnn)}"

    @property
    def detector_context_bytes(self) -> int:
        """What a detector's process holds outside the allocator, with spconv where it was there."""
        return self.context_with_spconv_bytes or self.context_bytes


_PLAIN = (
    *("gpu", "torch", "cudnn", "cuda", "driver"),
    *("context_bytes", "spconv", "context_with_spconv_bytes"),
)
"""What a profile and its file call the same, in the file's order."""


class _Threads(_Strict):
    main: NonNegativeInt
    autograd: NonNegativeInt


_Direction = Literal["forward", "dgrad", "wgrad"]


class _Convolution(_Strict):
    input_shape: tuple[NonNegativeInt, ...] = Field(alias="input")
    weight_shape: tuple[PositiveInt, ...] = Field(alias="weight")
    output_shape: tuple[NonNegativeInt, ...] = Field(alias="output")
    stride: tuple[PositiveInt, ...]
    padding: tuple[NonNegativeInt, ...]
    dilation: tuple[PositiveInt, ...]
    groups: PositiveInt = 1
    transposed: bool = False
    channels_last: bool = False
    dtype: Literal["float32", "float16", "bfloat16"]
    workspace_bytes: dict[_Direction, NonNegativeInt]
    benchmark: dict[_Direction, BenchmarkBytes] = {}
    crashed: list[_Direction] = []

    def call(self, direction: str) -> ConvCall:
        own = {name: getattr(self, name) for name in _OF_CALL}
        return ConvCall(direction=direction, element_bytes=DTYPE_BYTES[self.dtype], **own)


_OF_CALL = (
    *("input_shape", "weight_shape", "output_shape", "stride", "padding", "dilation"),
    *("groups", "transposed", "channels_last", "dtype"),
)
"""What the rows of a file and a call, whatever its direction, both say."""


class ProfileFile(_Strict):
    """A profile as it is written; sizes are bytes."""

    format: Literal["bevdiag device profile"]
    version: Literal[1]
    gpu: MeasuredGpu
    torch: str
    cudnn: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt]
    cuda: str
    driver: str
    context_bytes: NonNegativeInt
    spconv: str | None
    context_with_spconv_bytes: NonNegativeInt | None
    cublas_workspace_bytes: _Threads
    convolutions: list[_Convolution]


def read_profile(path: Path) -> DeviceProfile:
    """Return the profile in a file.

    Raises:
        InputError: the file cannot be read, or is no profile that this version understands.
    """
    file = read_json(path, ProfileFile, MAX_BYTES, _REMEDY)
    return DeviceProfile(
        **{name: getattr(file, name) for name in _PLAIN},
        cublas_workspace_bytes=file.cublas_workspace_bytes.model_dump(),
        workspaces={
            row.call(direction): nbytes
            for row in file.convolutions
            for direction, nbytes in row.workspace_bytes.items()
        },
        benchmarked={
            row.call(direction): seen
            for row in file.convolutions
            for direction, seen in row.benchmark.items()
        },
        crashed=frozenset(
            row.call(direction) for row in file.convolutions for direction in row.crashed
        ),
    )


def profile_text(profile: DeviceProfile) -> str:
    """Return the JSON text of a profile: a line for each convolution, in a fixed order."""
    head = {
        "format": "bevdiag device profile",
        "version": 1,
        **{name: getattr(profile, name) for name in _PLAIN},
        "gpu": profile.gpu.model_dump(),
        "cublas_workspace_bytes": profile.cublas_workspace_bytes,
    }
    lines = [f"{json.dumps(name)}: {json.dumps(value)}," for name, value in head.items()]
    rows = (row.model_dump(by_alias=True, exclude_defaults=True) for row in _rows(profile))
    convolutions = ",\n".join(map(json.dumps, rows))
    return "\n".join(["{", *lines, f'"convolutions": [\n{convolutions}\n]', "}", ""])


def _rows(profile: DeviceProfile) -> Iterator[_Convolution]:
    calls = sorted(
        {*profile.workspaces, *profile.benchmarked, *profile.crashed},
        key=lambda call: (*_geometry(call), DIRECTIONS.index(call.direction)),
    )
    for _, alike in groupby(calls, key=_geometry):
        members = {call.direction: call for call in alike}

        def known(measured: Mapping[ConvCall, Any], own: Mapping[str, ConvCall] = members) -> Any:
            return {name: measured[call] for name, call in own.items() if call in measured}

        first = next(iter(members.values()))
        yield _Convolution.model_construct(
            **{name: getattr(first, name) for name in _OF_CALL},
            workspace_bytes=known(profile.workspaces),
            benchmark=known(profile.benchmarked),
            crashed=[name for name, call in members.items() if call in profile.crashed],
        )


def _geometry(call: ConvCall) -> tuple[object, ...]:
    return (len(call.input_shape), *_IN_ORDER(call))


_IN_ORDER = attrgetter(
    *("transposed", "weight_shape", "stride", "padding", "dilation", "groups"),
    *("input_shape", "output_shape", "dtype", "channels_last"),
)


def generation_of(cudnn: CudnnVersion) -> tuple[str, CudnnVersion]:
    """Return the measured torch and cuDNN that a version of cuDNN is taken to choose like."""
    return next((torch, seen) for first, torch, seen in _GENERATIONS if cudnn >= first)


def dotted(version: Sequence[int]) -> str:
    """Write a version as people do: 9.10.2."""
    return ".".join(map(str, version))


def profile_name(gpu: str, torch: str, cudnn: CudnnVersion) -> str:
    """Return the file name of a profile: catalogue name or CUDA's, torch release, cuDNN."""
    return f"{gpu}-torch{dotted(torch_release(torch)[:2])}-cudnn{dotted(cudnn)}.json"


@cache
def shipped_profile(gpu: str, torch: str, cudnn: CudnnVersion) -> DeviceProfile | None:
    """Return the shipped profile of a catalogued GPU with these libraries, None without one.

    A workspace is cuDNN's own choice: where this torch was not measured, the profile of another
    torch with the same cuDNN answers.
    """
    path = shipped_file(f"{FOLDER}/{profile_name(gpu, torch, cudnn)}")
    if path is not None:
        return read_profile(path)
    folder = shipped_file(FOLDER)
    others = f"{gpu}-torch*-cudnn{dotted(cudnn)}.json"
    found = sorted(folder.glob(others)) if folder is not None else []
    return read_profile(found[-1]) if found else None
