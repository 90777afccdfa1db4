"""The model read a single number from its features, and the run had to guess it.

What it means:
    On meta tensors features have shapes and no values, so a number read from them is made up. What
    depends on it may be another size on a GPU.

Why it happens:
    Code calls item(), int() or float() on a feature, or branches on one.

How to fix:
    Compute what sizes depend on from the coordinates, keep the number on the device, or measure
    with --device cuda.

Seen in:
    pytorch/pytorch#126738 (https://github.com/pytorch/pytorch/issues/126738): a memory estimate
    without a GPU that ends at the first number a model reads from a tensor.
"""

from collections.abc import Iterator

from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import StepEvidence
from bevdiag.rules.finding import Finding


def check(evidence: StepEvidence) -> Iterator[Finding]:
    """Yield the trace's notes."""
    for note in evidence.trace.notes:
        yield finding("BEV901", note)
