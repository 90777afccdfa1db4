from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from bevdiag.source.cuda_api import FEATURES
from bevdiag.source.simulated_gpu import SimulatedGpu
from bevdiag.source.state import Running, begin
from bevdiag.trace.assumed_values import AssumedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.recorder import Recorder

CUDA = torch.device("cuda")


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = Recorder(Attribution(nn.Module()))
    made.bare_factories_on_host = True
    values = AssumedValues(Scenario.EXPECTED, {})
    gpu = SimulatedGpu(made, values)
    begin(Running(gpu, values))
    with made, gpu:
        yield made


MADE: dict[str, Callable[[], torch.Tensor]] = {
    "empty_strided": lambda: torch.empty_strided((2, 3), (3, 1), device="cuda"),
    "triu_indices": lambda: torch.triu_indices(4, 4, device="cuda"),
    "tril_indices": lambda: torch.tril_indices(4, 4, device=CUDA),
    "normal": lambda: torch.normal(0.0, 1.0, (3, 4), device="cuda"),
    "logspace": lambda: torch.logspace(0, 1, 5, device="cuda:0"),
    "hann_window": lambda: torch.hann_window(8, device=0),
    "fftfreq": lambda: torch.fft.fftfreq(8, device="cuda"),
    "asarray": lambda: torch.asarray([1, 2], device="cuda"),
    "as_tensor": lambda: torch.as_tensor(torch.ones(3), device="cuda"),
    "frombuffer": lambda: torch.frombuffer(bytearray(16), dtype=torch.int32).cuda(),
    "to": lambda: torch.ones(3).to("cuda", non_blocking=True),
    "ones_like": lambda: torch.ones_like(torch.ones(3), device="cuda"),
    "new_full": lambda: torch.ones(3).new_full((2,), 1.0, device="cuda"),
    "Linear": lambda: nn.Linear(3, 4, device="cuda").weight.detach(),
}


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_for_the_gpu_is_the_gpu_s(name: str, recorder: Recorder) -> None:
    made = MADE[name]()
    assert recorder.is_device(made)
    assert not made.is_meta
    assert made.device.type == "cuda"


def test_what_is_made_next_to_features_without_values_is_features(recorder: Recorder) -> None:
    for made in (
        torch.empty_strided((2, 2), (2, 1), device=FEATURES),
        torch.normal(0.0, 1.0, (2, 2), device=FEATURES),
        torch.rand(3, device=FEATURES, generator=torch.Generator()),
    ):
        assert made.is_meta
    assert torch.randint(0, 5, (3,), device=FEATURES).max() < 5


def test_the_default_device_counts_and_only_while_it_is_set(recorder: Recorder) -> None:
    with torch.device("cuda"):
        inside = torch.zeros(3)
    assert recorder.is_device(inside)
    assert not recorder.is_device(torch.zeros(3))
    torch.set_default_device("cuda")
    try:
        assert recorder.is_device(torch.arange(3))
    finally:
        torch.set_default_device(None)


def test_a_sparse_tensor_is_made_from_its_parts(recorder: Recorder) -> None:
    indices = torch.tensor([[0, 1], [1, 0]], device="cuda")
    values = torch.ones(2, device="cuda")
    made: Any = torch.sparse_coo_tensor(indices, values, (2, 2), device="cuda")
    assert made.to_dense().tolist() == [[0.0, 1.0], [1.0, 0.0]]
    features = torch.empty(2, device="meta")
    assert torch.sparse_coo_tensor(indices, features, (2, 2), device="cuda").is_meta


def test_what_is_to_get_a_gradient_is_where_features_are(recorder: Recorder) -> None:
    one_hot = torch.eye(4, device="cuda", requires_grad=True)
    assert one_hot.is_meta
    assert torch.eye(4, device="cuda").tolist()[0] == [1, 0, 0, 0]
