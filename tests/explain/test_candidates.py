from bevdiag.explain.answer import Failure, Figure, Stack
from bevdiag.explain.candidates import Case, Match, agrees, distance_of
from bevdiag.explain.kinds import kinds
from bevdiag.memory.device import make_target
from bevdiag.memory.events import Alloc, Phase

from ..streams import make, mark, stream

STREAM = stream(mark(1), make(4, "backbone_2d.blocks.0.1", op="aten.convolution.default"))
(ALLOC,) = STREAM.allocs()
CASE = Case(stream=STREAM, target=make_target(torch="2.11.0"), assumption="")


def _failure(allocated: int | None) -> Failure:
    figure = None if allocated is None else Figure("", allocated, allocated)
    return Failure(kind=kinds()["allocator"], sentence="", line=1, allocated=figure)


def _match(**known: object) -> Match:
    plain = {
        "case": CASE,
        "event": 1,
        "alloc": ALLOC,
        "nbytes": 4,
        "allocated_bytes": 4,
        "has_size": True,
        "stops_here": True,
        "agrees_with_stack": True,
        "distance": 0.0,
    }
    return Match(**{**plain, **known})  # type: ignore[arg-type]


def test_a_traceback_speaks_against_other_phases_parts_and_layers() -> None:
    def says(alloc: Alloc = ALLOC, **stack: str) -> bool:
        return agrees(alloc, Stack(**stack))

    assert says()
    assert says(phase="forward", part="backbone_2d", layer="conv")
    assert not says(phase="backward")
    assert not says(part="dense_head")
    assert not says(layer="batchnorm")
    (loss,) = stream(mark(1, Phase.FORWARD), make(4, "")).allocs()
    assert says(loss, part="dense_head")


def test_how_far_the_totals_lie_apart_is_a_share_of_the_messages() -> None:
    assert distance_of(90, _failure(100)) == 0.1
    assert distance_of(90, _failure(None)) is None
    assert _match(distance=None).is_near
    assert not _match(distance=0.11).is_near


def test_the_traceback_outweighs_the_size_and_the_size_the_total() -> None:
    best, far, sizeless, against = (
        _match(),
        _match(distance=0.5),
        _match(has_size=False),
        _match(agrees_with_stack=False),
    )
    ranked = sorted([against, sizeless, far, best], key=lambda match: match.rank)
    assert [id(match) for match in ranked] == [id(m) for m in (best, far, sizeless, against)]
