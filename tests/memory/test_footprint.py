import pytest

from bevdiag.memory.device import make_target
from bevdiag.memory.events import (
    Alloc,
    Category,
    ConvCall,
    Event,
    EventStream,
    Free,
    GemmWorkspace,
    Mark,
    Phase,
)
from bevdiag.memory.footprint import Requests
from bevdiag.memory.simulate import simulate
from bevdiag.memory.workspaces import Bound

MIB = 2**20
CALL = ConvCall(
    direction="wgrad",
    input_shape=(2, 128, 200, 176),
    weight_shape=(128, 128, 3, 3),
    output_shape=(2, 128, 200, 176),
    stride=(1, 1),
    padding=(1, 1),
    dilation=(1, 1),
    groups=1,
    transposed=False,
    element_bytes=4,
    dtype="float32",
)


def _alloc(block: int, nbytes: int, request: ConvCall | GemmWorkspace | None = None) -> Alloc:
    return Alloc(block, nbytes, Category.TEMPORARY, Phase.FORWARD, 1, "m", "op", request=request)


def _stream() -> EventStream:
    events: list[Event] = [Mark(1, Phase.FORWARD), _alloc(1, 0, GemmWorkspace("main"))]
    for round_ in range(3):
        first = 10 * (round_ + 1)
        events += [_alloc(first, (3 + round_) * MIB), _alloc(first + 1, 700), _alloc(first + 2, 0)]
        events += [_alloc(first + 3, 0, CALL), Free(first), Free(first + 3), Free(first + 2)]
    return EventStream(events=events, num_steps=1)


@pytest.mark.parametrize("bound", Bound)
@pytest.mark.parametrize("gpu", ["t4", "rtx4090", "a100-80gb", "h200"])
def test_the_footprint_is_that_of_a_simulation_without_a_limit(gpu: str, bound: Bound) -> None:
    stream, target = _stream(), make_target(torch="2.11.0", gpu=gpu)
    full = simulate(stream, target, until_oom=False, bound=bound)

    footprint = Requests(stream).footprint(target, bound)

    assert footprint.max_reserved_bytes == full.max_reserved_bytes
    assert footprint.floor_bytes == full.floor_bytes


def test_what_is_needed_at_least_leaves_workspaces_out() -> None:
    target = make_target(torch="2.11.0", gpu="h200")
    requests = Requests(_stream())

    # The last round's block beside the three small ones that stay.
    assert requests.least_bytes == 5 * MIB + 3 * 1024
    assert requests.footprint(target, Bound.EXPECTED).floor_bytes > requests.least_bytes


def test_chips_that_ask_for_the_same_share_a_walk() -> None:
    requests = Requests(_stream())
    small, large = (make_target(torch="2.11.0", gpu=f"a100-{size}") for size in ("40gb", "80gb"))

    assert requests.footprint(small, Bound.HIGH) is requests.footprint(large, Bound.HIGH)
