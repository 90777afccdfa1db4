"""The convolutions of a trace."""

from collections.abc import Iterator

from bevdiag.memory.events import Alloc, EventStream, Phase
from bevdiag.memory.requests import ConvCall


def convolutions(stream: EventStream) -> Iterator[tuple[Alloc, ConvCall]]:
    """Yield the workspace requests of the first step's convolutions, in order."""
    for event in stream.allocs(stream.where(step=1) & (stream.request >= 0)):
        if isinstance(event.request, ConvCall):
            yield event, event.request


def first_bev_convolution(stream: EventStream) -> ConvCall | None:
    """Return the first convolution of the 2D backbone, as it runs forward."""
    for alloc, call in convolutions(stream):
        if alloc.phase is Phase.FORWARD and alloc.module.startswith("backbone_2d"):
            return call
    return None
