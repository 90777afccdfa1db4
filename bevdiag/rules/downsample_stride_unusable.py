"""DSVT's downsampling is not written as its code reads it.

What it means:
    Either building ends in a TypeError, or the strides are read and nothing is ever pooled.

What is printed:
    'int' object is not iterable (in backbone_3d)

    'int' object is not subscriptable (in backbone_3d)

Why it happens:
    downsample_stride looks like one stride a axis and is one [dx, dy, dz] for each transition
    between two stages: a model of one stage has none, whatever the list says. And pooling is all
    that it does: a map that is flattened from another tensor stays as it was.

How to fix:
    Give DSVT more stages, and one triple a transition, whose last number divides the height: for
    175 voxels [[1, 1, 5], [1, 1, 5], [1, 1, 7]] between four stages.

Seen in:
    Haiyang-W/DSVT#75 (https://github.com/Haiyang-W/DSVT/issues/75): what else has to change with
    sparse_shape, asked and not answered.
"""

from collections.abc import Iterator

from bevdiag.config.written import as_triple, dsvt_key, triple
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding, Severity


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding where the list cannot work as written."""
    document, dsvt = evidence.document, dsvt_key(evidence.document)
    key = f"{dsvt}.INPUT_LAYER.downsample_stride"
    blocks, strides = document.get(f"{dsvt}.block_name"), document.get(key)
    if dsvt is None or not isinstance(strides, tuple) or not isinstance(blocks, tuple):
        return
    stages = len(blocks)
    problem = _problem(strides, stages)
    if problem:
        height = (triple(document, f"{dsvt}.INPUT_LAYER.sparse_shape") or (0, 0, 0))[2]
        detail = _lesson(stages, height)
        # DSVT asks for a stride between two stages and for no more.
        is_spare = all(map(as_triple, strides)) and len(strides) >= stages
        severity = Severity.WARNING if is_spare else None
        yield finding(
            "BEV105", problem, document=document, key=key, detail=detail, severity=severity
        )


def _problem(strides: tuple[object, ...], stages: int) -> str:
    wrong = [item for item in strides if as_triple(item) is None]
    if wrong:
        shown = f"{list(strides)}" if all(type(item) is int for item in strides) else f"{wrong[0]}"
        return f"{shown} is no list of [dx, dy, dz]: building DSVT ends in a TypeError"
    if len(strides) != stages - 1:
        return (
            f"{len(strides)} strides for {stages} stage(s): DSVT pools between two stages, so it "
            f"takes {stages - 1}"
        )
    return ""


def _lesson(stages: int, height: int) -> tuple[str, ...]:
    lines = [
        f"block_name makes {stages} stage(s); each of the {stages - 1} transition(s) between them "
        "takes one [dx, dy, dz], x first.",
        "The BEV map gets lower only where MAP_TO_BEV reads what DSVT's last stage wrote.",
    ]
    factors = _prime_factors(height)
    if len(factors) > 1:
        product = " x ".join(map(str, factors))
        shown = ", ".join(f"[1, 1, {factor}]" for factor in factors)
        lines.append(
            f"The grid is {height} = {product} voxels high: {len(factors) + 1} stages with "
            f"[{shown}] between them bring it to 1."
        )
    return tuple(lines)


def _prime_factors(number: int) -> list[int]:
    factors, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return [*factors, number] if number > 1 else factors
