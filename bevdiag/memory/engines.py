"""Which engine cuDNN takes: the one that the nearest measured calls took.

cuDNN weighs the speeds of its engines by heuristics of its own, for which no formula is known. What
each engine asks for has one: copies of some operands in the layout or type that its kernels want,
and room for sums that several thread blocks share. So a call that was not measured is held against
those that were, on the H200 with the same generation of cuDNN: the four of its kind that are
nearest in batch, channels and positions. Every engine whose formula gives what one of them asked
for has its vote, the nearer the more; the engine with the most votes is sized for the call at hand
and for its GPU's multiprocessors. No byte of a neighbour is taken over.

Held against the measured calls, each with itself left out: tests/memory/test_engines.py.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations, product
from math import log, prod
from typing import Any

from bevdiag.memory.cudnn import (
    CUBLAS_BYTES,
    FLOAT_BYTES,
    LARGE_KERNEL,
    VECTOR_BYTES,
    copies_of,
    cudnn_workspace,
    float_copies,
    fourier,
    has_tensor_cores,
    shared_tiles,
    winograd,
)
from bevdiag.memory.device import NO_PROFILE, DeviceTarget, make_target
from bevdiag.memory.profiles import MEASURED_GPU, generation_of, shipped_profile
from bevdiag.memory.requests import ConvCall

NEIGHBOURS = 4
WEIGHTS = (1.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0)
"""Of differences in batch, input channels, output channels and output positions, and of whether the
last three are aligned. Channels count more: tiles are cut from them, and with other tiles another
engine is the fastest."""
FARTHEST = 2.8
"""Beyond it no call is near: sizes that differ by a factor of 16 in all. Of the measured calls left
out, those whose nearest neighbour lies beyond are met more often by the rule."""
OWN_DISTANCE = 0.05
"""Added to distances, which are logarithms of ratios: the weight of a call of the same shape."""
EXPLAINED_BYTES = 512 * 1024
"""An engine explains what was measured within this: copies and sums are aligned and counted."""
TILES = (32, 64, 128, 256)
SMALL_CUBLAS_BYTES = 4 * 1024**2
MOST_SPLITS = 64
SMALLEST_SPLIT_BYTES = 64 * 1024
"""Smaller gradients fit any figure some number of times."""
_ALONE = ("rule", "Winograd", "Fourier")
"""Engines that share no sums, whatever room others make for them."""
_NOTHING = "nothing"

Engine = tuple[str, str]
"""What it copies or transforms, and the room that it makes for sums."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A measured call, how far it is in shape, and what it asked for."""

    distance: float
    call: ConvCall
    nbytes: int


def engine_bytes(call: ConvCall, target: DeviceTarget, rule: int) -> int:
    """Return the bytes of the engine that a call is expected to take; `rule` where none is known.

    Args:
        call: a convolution with 32-bit indices that goes through cuDNN.
        target: its cuDNN says which measured calls to ask, its multiprocessors size the sums.
        rule: what the rule of `cudnn.py` expects, an engine like the others.
    """
    if not has_tensor_cores(call, target):
        return rule
    return agreed(call, target, rule, nearest(call, target.cudnn, NEIGHBOURS))


def agreed(call: ConvCall, target: DeviceTarget, rule: int, neighbours: Sequence[Neighbour]) -> int:
    """Return the bytes of the engine that explains most of the neighbours, weighted by distance."""
    votes: dict[Engine, float] = defaultdict(float)
    for near in neighbours:
        for engine in _explaining(near.call, near.nbytes):
            votes[engine] += 1 / (near.distance + OWN_DISTANCE)
    copies, sums = _engines(call, target.multiprocessors, rule) if votes else ({}, {})
    known = [(copied, room) for copied, room in votes if copied in copies and room in sums]
    if not known:
        return rule
    copied, room = max(known, key=lambda engine: votes[engine])
    return copies[copied] + sums[room]


@lru_cache(maxsize=4096)
def _explaining(call: ConvCall, nbytes: int) -> tuple[Engine, ...]:
    """Return the engines that ask for about so much on the measured GPU, the simplest first."""
    machine = _measured_machine()
    rule = cudnn_workspace(call, machine).expected
    copies, sums = _engines(call, machine.multiprocessors, rule)
    return tuple(
        (copied, room)
        for copied, room in product(copies, sums)
        if abs(copies[copied] + sums[room] - nbytes) <= EXPLAINED_BYTES
        and (room == _NOTHING or copied not in _ALONE)
    )


@cache
def _measured_machine() -> DeviceTarget:
    return make_target(torch="0", gpu=MEASURED_GPU, profile=NO_PROFILE)


@lru_cache(maxsize=4096)
def nearest(call: ConvCall, cudnn: tuple[int, int, int], number: int) -> tuple[Neighbour, ...]:
    """Return the measured calls of the same kind that are nearest in shape, nearest first.

    None where the nearest is beyond FARTHEST: what is the fastest for sizes that far off says
    nothing.
    """
    import numpy as np

    known = _measured(cudnn).get(_kind(call))
    if known is None:
        return ()
    places, calls = known
    distances = sum((np.abs(places - _place(call)) * WEIGHTS).T)
    order = np.argsort(distances, kind="stable")[:number].tolist()
    if distances[order[0]] > FARTHEST:
        return ()
    return tuple(Neighbour(float(distances[index]), *calls[index]) for index in order)


def _place(call: ConvCall) -> tuple[float, ...]:
    """Return logarithms of batch, channels and output positions, and which rows are aligned.

    Where a row of operands is no multiple of a vector, kernels for tensor cores drop out or copy
    into padded rows: 32 channels need nothing where 35 take cuBLAS's room.
    """
    sizes = (*call.input_shape[:2], call.output_shape[1], prod(call.output_shape[2:]))
    rows = (
        size // share for size, share in zip(sizes[1:], (call.groups, call.groups, 1), strict=True)
    )
    aligned = (float(row * call.element_bytes % VECTOR_BYTES == 0) for row in rows)
    return (*(log(max(1, size)) for size in sizes), *aligned)


def _kind(call: ConvCall) -> tuple[object, ...]:
    return (
        call.direction,
        call.element_bytes,
        call.weight_shape[2:],
        call.stride,
        call.dilation,
        call.transposed,
        call.groups > 1,
        call.channels_last,
    )


@cache
def _measured(
    cudnn: tuple[int, int, int],
) -> Mapping[tuple[object, ...], tuple[Any, list[tuple[ConvCall, int]]]]:
    """Return a generation's measured calls by kind: [calls, 7] their places, what they took."""
    import numpy as np

    kinds = defaultdict(list)
    profile = shipped_profile(MEASURED_GPU, *generation_of(cudnn))
    for call, nbytes in profile.workspaces.items() if profile is not None else ():
        kinds[_kind(call)].append((call, nbytes))
    return {
        kind: (np.array([_place(call) for call, _ in calls]), calls)
        for kind, calls in kinds.items()
    }


def _engines(
    call: ConvCall, multiprocessors: int, rule: int
) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Return what engines copy or transform by its name, the simplest first, and rooms for sums."""
    operands = copies_of(call)
    copies = {"rule": rule}
    for number in range(len(operands) + 1):
        for chosen in combinations(operands, number):
            copies[" ".join(chosen)] = sum(operands[name] for name in chosen)
    copies["float"] = float_copies(call)
    if tiles := winograd(call):
        copies["Winograd"] = tiles
    if len(call.input_shape) == 4 and max(call.weight_shape[2:]) >= LARGE_KERNEL:
        copies["Fourier"] = fourier(call)
    return copies, _sums(call, multiprocessors)


def _sums(call: ConvCall, multiprocessors: int) -> dict[str, int]:
    """Return the rooms for sums: fixed ones of cuBLAS, shared tiles, or whole gradients."""
    gradient = prod(call.weight_shape) * FLOAT_BYTES
    batch = call.input_shape[0]
    found = {
        _NOTHING: 0,
        "cuBLAS": CUBLAS_BYTES,
        "small cuBLAS": SMALL_CUBLAS_BYTES,
        "product a sample": batch * gradient,
        "product a sample, cuBLAS": batch * gradient + CUBLAS_BYTES,
        "product a sample, small cuBLAS": batch * gradient + SMALL_CUBLAS_BYTES,
        "weight in float": gradient,
    }
    for rows, columns in product(TILES, TILES):
        for name, kept in (("", 0), (" but one", 1)):
            if nbytes := shared_tiles(call, rows, columns, multiprocessors, kept):
                found[f"tiles of {rows} x {columns}{name}"] = nbytes
    if call.direction == "wgrad" and gradient >= SMALLEST_SPLIT_BYTES:
        found |= {f"{splits} gradients": splits * gradient for splits in range(2, MOST_SPLITS + 1)}
    return found
