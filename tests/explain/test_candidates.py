from typing import Any

from bevdiag.explain.answer import Failure, Figure, Stack
from bevdiag.explain.candidates import Case, Match
from bevdiag.explain.kinds import kinds
from bevdiag.memory.device import make_target
from bevdiag.memory.events import Alloc, Phase

from ..streams import make, mark, stream

STREAM = stream(mark(1), make(4, "backbone_2d.blocks.0.1", op="aten.convolution.default"))
(ALLOC,) = STREAM.allocs()
CASE = Case(stream=STREAM, target=make_target(torch="2.11.0"), assumption="")


def _match(
    allocated: int | None = 100, stack: Stack | None = None, alloc: Alloc = ALLOC, **known: Any
) -> Match:
    figure = None if allocated is None else Figure("", allocated, allocated)
    failure = Failure(
        kind=kinds()["allocator"], sentence="", line=1, allocated=figure, stack=stack or Stack()
    )
    plain = {"event": 1, "nbytes": 4, "allocated_bytes": 100, "has_size": True, "stops_here": True}
    return Match(failure=failure, case=CASE, alloc=alloc, **{**plain, **known})


def test_a_traceback_speaks_against_other_phases_parts_and_layers() -> None:
    def says(alloc: Alloc = ALLOC, **stack: str) -> bool:
        return _match(alloc=alloc, stack=Stack(**stack)).agrees_with_stack

    assert says()
    assert says(phase="forward", part="backbone_2d", layer="conv")
    assert not says(phase="backward")
    assert not says(part="dense_head")
    assert not says(layer="batchnorm")
    (loss,) = stream(mark(1, Phase.FORWARD), make(4, "")).allocs()
    assert says(loss, part="dense_head")


def test_how_far_the_totals_lie_apart_is_a_share_of_the_messages() -> None:
    assert _match(allocated_bytes=90).distance == 0.1
    assert _match(None, allocated_bytes=90).distance is None
    assert _match(None, allocated_bytes=90).is_near
    assert not _match(allocated_bytes=89).is_near


def test_the_traceback_outweighs_the_size_and_the_size_the_total() -> None:
    best, far, sizeless, against = (
        _match(),
        _match(allocated_bytes=50),
        _match(has_size=False),
        _match(stack=Stack(phase="backward")),
    )
    ranked = sorted([against, sizeless, far, best], key=lambda match: match.rank)
    assert [id(match) for match in ranked] == [id(m) for m in (best, far, sizeless, against)]
