"""Ask cuDNN itself what the engine that PyTorch would pick needs, without running it.

Wants a GPU and the package nvidia-cudnn-frontend (the extra `cudnn`). PyTorch walks the list of
cuDNN's heuristic mode A, then the fallbacks, and takes the first engine that supports the call;
cuDNN's graph API does the same. It needs no tensors, so it can answer for calls that do not fit
into the GPU's memory. Without a GPU cuDNN's heuristics do not know the chip's state and answered
differently for nearly every second call, so it is not asked there.
"""

from collections.abc import Sequence
from importlib import util
from itertools import accumulate
from typing import Any

from bevdiag.memory.requests import ConvCall


class CudnnHeuristics:
    """cuDNN's heuristics on the current device."""

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


def _in_two_dimensions(shape: tuple[int, ...]) -> tuple[int, ...]:
    """PyTorch shows cuDNN a 1-D convolution as a 2-D one of height 1."""
    return (*shape[:2], 1, shape[2]) if len(shape) == 3 else shape


def _per_axis(values: tuple[int, ...], of_height: int) -> list[int]:
    return [of_height, *values] if len(values) == 1 else list(values)


def _strides(shape: Sequence[int], *, channels_last: bool) -> list[int]:
    """Return the strides of a dense tensor, in the order of its dimensions."""
    rank = len(shape)
    order = [0, *range(2, rank), 1] if channels_last else list(range(rank))
    inner = accumulate([1, *(shape[axis] for axis in reversed(order[1:]))], lambda a, b: a * b)
    strides = dict(zip(reversed(order), inner, strict=True))
    return [strides[axis] for axis in range(rank)]
