"""Rules about what a traced run had to guess or to replace."""

from collections.abc import Iterable, Iterator

from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import StepEvidence
from bevdiag.rules.finding import Finding


def scalar_guessed(evidence: StepEvidence) -> Iterator[Finding]:
    """The model read a single number from its features, and the run had to guess it.

    What it means: On meta tensors features have shapes and no values, so a number read from them is
        made up. What depends on it may be another size on a GPU.
    Why it happens: Code calls item(), int() or float() on a feature, or branches on one.
    How to fix: Compute what sizes depend on from the coordinates, keep the number on the device, or
        measure with --device cuda.
    Seen in: pytorch/pytorch#126738: a memory estimate without a GPU that ends at the first number a
        model reads from a tensor.
    """
    for note in evidence.trace.notes:
        yield finding("BEV901", note)


def repository_stubbed(notes: Iterable[str]) -> Iterator[Finding]:
    """Something of the repository could not run here and had a stub.

    What it means: The model was built by the repository's own code, but a part of it (a compiled
        operation, a download, a library that is not installed) ran as a stub that makes the right
        shapes.
    Why it happens: --source runs code on the CPU without compiling or downloading anything.
    How to fix: Nothing is wrong with the config. Where the stub may ask for other memory than the
        original, the finding says so; installing the library removes it.
    Seen in: open-mmlab/OpenPCDet#348: a compiled operation that takes memory which no tool sees.
    """
    for note in notes:
        yield finding("BEV902", note)
