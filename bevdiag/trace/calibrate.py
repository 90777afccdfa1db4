"""Measure a GPU for a device profile; runs in a child process of its own.

What PyTorch asks its allocator for is read from the allocator's own statistics around each call:
the highest total of requested bytes, less what was there before and what the call returned.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from typing import Any

import torch
from torch import nn

from bevdiag.children import Tell, announce, whereabouts
from bevdiag.environment.gpus import read_driver
from bevdiag.errors import NoVerdictError
from bevdiag.memory.device import cudnn_of_number
from bevdiag.memory.profiles import DeviceProfile, MeasuredGpu
from bevdiag.memory.requests import ConvCall

WARM_CHANNELS, WARM_SIZE = 64, 64
"""A small network's, whose kernels fill the context as a detector's do."""
READY = "ready"
"""Reported by a process whose GPU works: if it dies later, it is a call's fault."""


@dataclass(frozen=True, slots=True)
class CalibrationTask:
    """What one child is to measure.

    PyTorch keeps the plan of a convolution that it has seen, whichever mode found it: each mode
    wants a process of its own.

    Attributes:
        calls: the convolutions; their directions say which of the three passes.
        cudnn_benchmark: measure them, and nothing else, with `cudnn.benchmark` on.
        held_bytes: what other processes held on the GPU before the child started.
        is_first: measure the device itself too, before its convolutions.
    """

    calls: tuple[ConvCall, ...]
    cudnn_benchmark: bool
    held_bytes: int
    is_first: bool


@dataclass(frozen=True, slots=True)
class MeasuredCall:
    """What the first and a later run of a call asked for; None where it cannot be run."""

    call: ConvCall
    first: int | None = None
    later: int | None = None


class CudnnHeuristics:
    """cuDNN's own word on what the engine that PyTorch would pick needs, which is not run.

    Wants the package nvidia-cudnn-frontend (the extra `cudnn`). PyTorch walks the list of cuDNN's
    heuristic mode A, then the fallbacks, and takes the first engine that supports the call; cuDNN's
    graph API does the same. It needs no tensors, so it can answer for calls that do not fit into
    the GPU's memory. Without a GPU cuDNN's heuristics do not know the chip's state and answered
    differently for nearly every second call, so it is not asked there.
    """

    def __init__(self) -> None:
        import cudnn

        self._cudnn: Any = cudnn
        self._handle = cudnn.create_handle()
        self._types = {
            "float32": cudnn.data_type.FLOAT,
            "float16": cudnn.data_type.HALF,
            "bfloat16": cudnn.data_type.BFLOAT16,
        }

    @classmethod
    def if_installed(cls) -> "CudnnHeuristics | None":
        """Return the heuristics, None where nvidia-cudnn-frontend is not installed."""
        return None if util.find_spec("cudnn") is None else cls()

    def workspace_bytes(self, call: ConvCall) -> int | None:
        """Return the workspace of the engine that comes first, None where cuDNN has none."""
        cudnn = self._cudnn
        graph = cudnn.pygraph(
            handle=self._handle,
            io_data_type=self._types[call.dtype],
            intermediate_data_type=cudnn.data_type.FLOAT,
            compute_data_type=cudnn.data_type.FLOAT,
        )
        try:
            self._add(graph, call)
            graph.validate()
            graph.build_operation_graph()
            graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
            graph.check_support()
            graph.build_plans()
        except (cudnn.cudnnGraphNotSupportedError, RuntimeError):
            return None
        return int(graph.get_workspace_size())

    def _add(self, graph: Any, call: ConvCall) -> None:
        """Add the operation: a transposed convolution is its own gradient's convolution."""
        data, weight, output = map(
            _in_two_dimensions, (call.input_shape, call.weight_shape, call.output_shape)
        )
        if call.transposed:
            data, output = output, data
        swapped = {"forward": "dgrad", "dgrad": "forward"}
        direction = (
            swapped.get(call.direction, call.direction) if call.transposed else call.direction
        )
        steps = {
            "pre_padding": _per_axis(call.padding, 0),
            "post_padding": _per_axis(call.padding, 0),
            "stride": _per_axis(call.stride, 1),
            "dilation": _per_axis(call.dilation, 1),
        }

        def tensor(shape: Sequence[int]) -> Any:
            strides = _strides(shape, channels_last=call.channels_last)
            return graph.tensor(dim=list(shape), stride=strides, data_type=self._types[call.dtype])

        if direction == "forward":
            result, shape = graph.conv_fprop(tensor(data), tensor(weight), **steps), output
        elif direction == "dgrad":
            result = graph.conv_dgrad(loss=tensor(output), filter=tensor(weight), **steps)
            shape = data
        else:
            result = graph.conv_wgrad(image=tensor(data), loss=tensor(output), **steps)
            shape = weight
        strides = _strides(shape, channels_last=call.channels_last)
        result.set_output(True).set_data_type(self._types[call.dtype])
        result.set_dim(list(shape)).set_stride(strides)


def run_child(task: CalibrationTask, tell: Tell) -> None:
    """Measure, and report each result at once: the next call may be the last.

    Reported are READY once the GPU has answered, a `DeviceProfile` without convolutions where the
    device is asked for, and then one `MeasuredCall` a call, in their order.

    Raises:
        NoVerdictError: whatever a driver or a library raised.
    """
    announce("while the device itself was measured")
    try:
        device = torch.device("cuda", torch.cuda.current_device())
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = task.cudnn_benchmark
        torch.ones(1, device=device).item()
        tell(READY)
        if task.is_first:
            tell(_device(task, device))
        heuristics = None if task.cudnn_benchmark else CudnnHeuristics.if_installed()
        for call in task.calls:
            announce(f"in {call_words(call)}")
            tell(_measured(call, device, heuristics))
    except Exception as error:
        reason = f"stopped with {type(error).__name__}: {error}"
        raise NoVerdictError(f"the measuring process {reason}, {whereabouts()}") from error


def call_words(call: ConvCall) -> str:
    """Name a convolution: "the dgrad of float16 (2, 64, 94, 94) by (128, 64, 3, 3)"."""
    layout = " channels-last" if call.channels_last else ""
    kind = " transposed" if call.transposed else ""
    return (
        f"the {call.direction} of{kind}{layout} {call.dtype} {call.input_shape} by "
        f"{call.weight_shape}, stride {call.stride}"
    )


def _device(task: CalibrationTask, device: torch.device) -> DeviceProfile:
    threads = _cublas_workspaces(device)
    _train_small_network(device)
    dense = _context_bytes(device, task.held_bytes)
    sparse = _train_sparse_layer(device)
    properties, driver = torch.cuda.get_device_properties(device), read_driver()
    return DeviceProfile(
        gpu=MeasuredGpu(
            name=properties.name,
            total_bytes=properties.total_memory,
            compute_capability=(properties.major, properties.minor),
            multiprocessors=properties.multi_processor_count,
        ),
        torch=torch.__version__,
        cudnn=cudnn_of_number(torch.backends.cudnn.version() or 0),  # type: ignore[no-untyped-call]
        cuda=torch.version.cuda or "",
        driver=driver.version if driver is not None else "",
        context_bytes=dense,
        spconv=sparse,
        context_with_spconv_bytes=(
            None if sparse is None else _context_bytes(device, task.held_bytes)
        ),
        cublas_workspace_bytes=threads,
        workspaces={},
    )


def _measured(
    call: ConvCall, device: torch.device, heuristics: CudnnHeuristics | None
) -> MeasuredCall:
    """Measure what a call asks for, cuDNN's own word where it cannot be run."""
    seen = _scratch_bytes(call, device)
    # An illegal access shows with the next synchronization, and no call after it can succeed.
    torch.cuda.synchronize()
    if seen is not None:
        return MeasuredCall(call, *seen)
    answer = None if heuristics is None else heuristics.workspace_bytes(call)
    return MeasuredCall(call, answer, answer)


def _requested(kind: str) -> int:
    stats: dict[str, int] = torch.cuda.memory_stats()
    return stats[f"requested_bytes.all.{kind}"]


def _cublas_workspaces(device: torch.device) -> dict[str, int]:
    """Measure what the first matrix product of each thread leaves behind, by thread."""
    data = torch.ones(8, 8, device=device, requires_grad=True)
    before = _requested("current")
    product = data @ data.detach()
    main = _requested("current") - before - product.nbytes
    # The ones that backward starts from exist before, and the gradient afterwards.
    gradient = torch.ones_like(product)
    before = _requested("current")
    torch.autograd.backward(product, gradient)
    assert data.grad is not None
    return {"main": main, "autograd": _requested("current") - before - data.grad.nbytes}


def _train_small_network(device: torch.device) -> None:
    """Load what dense layers load: cuDNN's, cuBLAS's and PyTorch's kernels of a training step."""
    model = nn.Sequential(
        nn.Conv2d(WARM_CHANNELS, WARM_CHANNELS, 3, padding=1, bias=False),
        nn.BatchNorm2d(WARM_CHANNELS),
        nn.ReLU(),
        nn.ConvTranspose2d(WARM_CHANNELS, WARM_CHANNELS, 2, stride=2),
        nn.Conv2d(WARM_CHANNELS, WARM_CHANNELS, 1),
        nn.Flatten(2),
        nn.Linear(4 * WARM_SIZE**2, WARM_CHANNELS),
    ).to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    data = torch.ones(2, WARM_CHANNELS, WARM_SIZE, WARM_SIZE, device=device)
    for _ in range(2):
        torch.autograd.backward(model(data).square().sum())
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def _train_sparse_layer(device: torch.device) -> str | None:
    """Load what sparse convolutions load; spconv's version, None where it is not installed."""
    if util.find_spec("spconv") is None:
        return None
    import spconv.pytorch as spconv

    model = nn.ModuleList(
        [
            spconv.SubMConv3d(16, 16, 3, padding=1, indice_key="a"),
            spconv.SparseConv3d(16, 32, 3, stride=2, padding=1),
        ]
    ).to(device)
    places = torch.stack(torch.meshgrid(*[torch.arange(8)] * 3, indexing="ij"), -1).reshape(-1, 3)
    indices = torch.cat([torch.zeros(len(places), 1), places], 1).int().to(device)
    features = torch.ones(len(places), 16, device=device)
    data = spconv.SparseConvTensor(features, indices, [8, 8, 8], 1)
    for layer in model:
        data = layer(data)
    torch.autograd.backward(data.features.sum())
    names = [name for name in metadata.packages_distributions()["spconv"] if "spconv" in name]
    return metadata.version(names[0])


def _context_bytes(device: torch.device, held_bytes: int) -> int:
    """Measure what this process holds on the device outside the allocator."""
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info(device)
    return max(0, total - free - torch.cuda.memory_reserved(device) - held_bytes)


def _scratch_bytes(call: ConvCall, device: torch.device) -> tuple[int, int] | None:
    """Measure the first and the second run of a call, None where it cannot be run."""
    free, total = torch.cuda.mem_get_info(device)
    if free < total // 2:
        # What earlier calls left in the cache is not to crowd this one out.
        torch.cuda.empty_cache()
    try:
        run = _prepared(call, device)
        return _scratch_of(run), _scratch_of(run)
    except RuntimeError:
        # Memory ran out, or cuDNN has no engine for it.
        return None


def _scratch_of(run: Callable[[], Sequence[torch.Tensor | None]]) -> int:
    torch.cuda.reset_peak_memory_stats()
    before = _requested("current")
    returned = sum(result.nbytes for result in run() if result is not None)
    return _requested("peak") - before - returned


def _prepared(call: ConvCall, device: torch.device) -> Callable[[], Sequence[torch.Tensor | None]]:
    """Prepare the call on zeros: which algorithm is chosen does not depend on values."""
    layout = torch.channels_last if call.channels_last else torch.contiguous_format

    def zeros(shape: tuple[int, ...]) -> torch.Tensor:
        tensor = torch.zeros(shape, dtype=getattr(torch, call.dtype), device=device)
        return tensor.contiguous(memory_format=layout)

    data, weight, geometry = zeros(call.input_shape), zeros(call.weight_shape), _geometry(call)
    if call.direction == "forward":
        return lambda: [torch.ops.aten.convolution(data, weight, None, *geometry)]
    gradient = zeros(call.output_shape)
    wanted = [call.direction == "dgrad", call.direction == "wgrad", False]

    def backward() -> Sequence[torch.Tensor | None]:
        results: Sequence[torch.Tensor | None] = torch.ops.aten.convolution_backward(
            gradient, data, weight, None, *geometry, wanted
        )
        return results

    return backward


def _geometry(call: ConvCall) -> tuple[Any, ...]:
    """Stride to groups, in the order of aten::convolution's arguments."""
    beyond = [0] * len(call.stride)
    if call.transposed:
        spaces = (call.output_shape[2:], call.input_shape[2:], call.weight_shape[2:])
        axes = zip(*spaces, call.stride, call.padding, call.dilation, strict=True)
        beyond = [
            out - ((size - 1) * stride - 2 * pad + dilation * (kernel - 1) + 1)
            for out, size, kernel, stride, pad, dilation in axes
        ]
    steps = map(list, (call.stride, call.padding, call.dilation))
    return (*steps, call.transposed, beyond, call.groups)


def _in_two_dimensions(shape: tuple[int, ...]) -> tuple[int, ...]:
    """PyTorch shows cuDNN a 1-D convolution as a 2-D one of height 1."""
    return (*shape[:2], 1, shape[2]) if len(shape) == 3 else shape


def _per_axis(values: tuple[int, ...], of_height: int) -> list[int]:
    return [of_height, *values] if len(values) == 1 else list(values)


def _strides(shape: Sequence[int], *, channels_last: bool) -> list[int]:
    """Return the strides of a dense tensor, in the order of its dimensions."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return list(torch.empty(shape, device="meta", memory_format=layout).stride())
