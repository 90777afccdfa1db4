import pytest

from bevdiag.memory.events import Category, Phase

from ..streams import free, make, mark, stream

RUN = (
    make(8, "net", category=Category.PARAMETER),
    mark(1),
    make(4, "net.a", shape=(2, 1), dtype="float16"),
    free(1),
    mark(1, Phase.BACKWARD),
    make(2, "net.b", category=Category.GRADIENT),
)


def test_sections_are_the_events_between_marks() -> None:
    sections = stream(*RUN).sections()
    assert [(part.step, part.phase) for part in sections[1:]] == [
        (1, Phase.FORWARD),
        (1, Phase.BACKWARD),
    ]
    assert [part.stop for part in sections[:-1]] == [part.start for part in sections[1:]]
    assert sections[-1].stop == len(stream(*RUN).events)
    assert len(stream(*RUN).sections(stop=2)) == 1


def test_a_block_knows_when_it_lives_and_what_it_is() -> None:
    run = stream(*RUN)
    assert (run.freed[1], run.freed[2]) == (run.frees[0], len(run.events))
    alloc = run.alloc(1)
    assert (alloc.module, alloc.shape, alloc.dtype, alloc.step) == ("net.a", (2, 1), "float16", 1)
    gradients = run.where(category=Category.GRADIENT, phase=Phase.BACKWARD)
    assert [found.module for found in run.allocs(gradients)] == ["net.b"]
    assert not run.where(step=2).any()


@pytest.mark.parametrize("frees", [(0, 0), (1,)], ids=["twice", "before it is made"])
def test_what_is_not_alive_cannot_be_freed(frees: tuple[int, ...]) -> None:
    with pytest.raises((ValueError, IndexError)):
        stream(make(8), *(free(block) for block in frees), make(4) if frees == (1,) else mark(1))
