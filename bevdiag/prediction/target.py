"""What a step is judged by: one resolution for every command.

The first that says anything of a GPU or a budget decides both: the options, the environment, the
project's policy, the GPU at hand. Where it came from is part of the answer.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from bevdiag.environment.gpus import GpuState, read_driver
from bevdiag.errors import InputError
from bevdiag.memory.catalogue import gpu_called, same_release
from bevdiag.memory.device import DeviceTarget, make_target
from bevdiag.memory.sizes import format_size
from bevdiag.prediction.options import InspectOptions


def device_target(options: InspectOptions, torch_version: str) -> DeviceTarget:
    """Return the GPU and versions that the options name.

    Args:
        options: the user's.
        torch_version: the installed one, where the options name none.

    Raises:
        InputError: one of them cannot be used.
    """
    target = make_target(
        torch=options.torch or torch_version,
        gpu=options.gpu,
        budget_bytes=options.budget_bytes,
        process_bytes=options.process_bytes,
        cudnn=options.cudnn,
        profile=options.profile,
        cudnn_benchmark=options.cudnn_benchmark,
        loop=options.loop,
    )
    if options.torch is not None and not same_release(options.torch, target.torch):
        raise InputError(
            f"--profile {options.profile} was measured with torch {target.torch}, not "
            f"{options.torch}: leave out the torch"
        )
    return replace(target, origin=options.origin)


def require_capacity(target: DeviceTarget) -> DeviceTarget:
    """Check that the target says what the step has to fit, and return it.

    Raises:
        InputError: nobody named a GPU or a budget, and there is no GPU at hand.
    """
    if target.capacity_bytes is None:
        raise InputError(
            "say what the step must fit: --gpu NAME or --budget SIZE (or BEVDIAG_GPU, or gpu in a "
            "bevdiag.toml); there is no GPU at hand"
        )
    return target


def gpu_at_hand(options: InspectOptions) -> InspectOptions:
    """Return the options with the GPU that a training would have to make do with, if there is one.

    What is free of it is the process's. With several, a training that uses all of them stops on the
    one with the least free memory.
    """
    driver = read_driver()
    visible = [] if driver is None else _visible(driver.gpus)
    if not visible:
        return options
    state = min(visible, key=_free)
    known = gpu_called(state.name)
    return replace(
        options,
        gpu=None if known is None else known.name,
        process_bytes=max(1, _free(state)),
        origin=_words(state),
    )


def _free(state: GpuState) -> int:
    return state.total_bytes - state.used_bytes


def _visible(gpus: Sequence[GpuState]) -> Sequence[GpuState]:
    """Return those that CUDA_VISIBLE_DEVICES leaves, all where it does not say which they are."""
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None or re.search("GPU-|MIG-", wanted):
        return gpus
    by_speed = os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID"
    if wanted and by_speed and len({gpu.name for gpu in gpus}) > 1:
        return gpus  # CUDA numbers the fastest 0, the driver the first on the bus
    numbered = {str(gpu.index): gpu for gpu in gpus}
    places = [place.strip() for place in wanted.split(",")]
    # CUDA reads up to the first number that is none of a GPU, such as -1.
    return [numbered[place] for place in takewhile(numbered.__contains__, places)]


def _words(state: GpuState) -> str:
    holders = ", ".join(
        f"{process.name or 'a process'} (pid {process.pid})"
        + ("" if process.nbytes is None else f" holds {format_size(process.nbytes)}")
        for process in state.processes
    )
    free = f"GPU {state.index} at hand ({state.name}, {format_size(_free(state))} free"
    return f"{free}; {holders})" if holders else f"{free})"
