from typing import Any

import torch

from bevdiag.memory.events import Phase
from bevdiag.memory.requests import StridedReduction


def _meta(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")


def _reductions(recordings: Any, recorder: Any) -> list[StridedReduction]:
    requests = [a.request for a in recordings.allocs(recorder.stream(1))]
    return [request for request in requests if isinstance(request, StridedReduction)]


def test_a_biass_gradient_is_summed_over_rows_by_many_blocks(recordings: Any) -> None:
    layer = torch.nn.Linear(16, 32, device="meta")
    with recordings.recording(layer) as recorder:
        output = layer(_meta(100, 16))
        recorder.mark(1, Phase.BACKWARD)
        output.backward(_meta(100, 32))
    assert _reductions(recordings, recorder) == [StridedReduction(32, 100, 4)]


def test_sums_along_inner_axes_and_of_expanded_tensors_need_no_buffer(recordings: Any) -> None:
    with recordings.recording() as recorder:
        _ = _meta(8, 16, 5).sum((1, 2)), _meta(()).expand(8, 16).sum(0), _meta(4, 5).sum()
    assert _reductions(recordings, recorder) == []


def test_the_mean_of_a_channels_last_map_needs_one(recordings: Any) -> None:
    data = _meta(2, 8, 6, 6).to(memory_format=torch.channels_last)[:1]
    with recordings.recording() as recorder:
        data.mean((2, 3))
    assert _reductions(recordings, recorder) == [StridedReduction(8, 36, 4)]


def test_a_strided_input_of_a_layer_norm_is_copied(recordings: Any) -> None:
    norm = torch.nn.LayerNorm(8, device="meta")
    data = _meta(2, 8, 6).transpose(1, 2)
    with recordings.recording(norm) as recorder:
        norm(data)
        norm(_meta(2, 6, 8))
    copies = recordings.allocs(recorder.stream(1), op="aten.contiguous")
    assert [copy.nbytes for copy in copies] == [4 * data.numel()]
