"""DSVT's downsampling is not written as its code reads it.

What it means:
    Either building ends in a TypeError, or the strides are read and nothing is ever pooled.

Why it happens:
    downsample_stride looks like one stride a axis and is one [dx, dy, dz] for each transition
    between two stages: a model of one stage has none, whatever the list says. And pooling is all
    that it does: a map that is flattened from another tensor stays as it was.

How to mend:
    Give DSVT more stages, and one triple a transition, whose last number divides the height: for
    175 voxels [[1, 1, 5], [1, 1, 5], [1, 1, 7]] between four stages.

Seen in:
    Haiyang-W/DSVT#75 (https://github.com/Haiyang-W/DSVT/issues/75): what else has to change with
    sparse_shape, asked and not answered.
"""

from collections.abc import Iterator

from bevdiag.config.written import as_triple, dsvt_key
from bevdiag.diagnose.codes import finding
from bevdiag.diagnose.evidence import ConfigEvidence
from bevdiag.diagnose.result import Finding


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
        yield finding("BEV105", problem, document=document, key=key, detail=_lesson(stages))


def _problem(strides: tuple[object, ...], stages: int) -> str:
    wrong = [item for item in strides if as_triple(item) is None]
    if wrong:
        shown = f"{list(strides)}" if all(type(item) is int for item in strides) else f"{wrong[0]}"
        return f"{shown} is no list of [dx, dy, dz]: building DSVT ends in a TypeError"
    if len(strides) != stages - 1:
        return (
            f"{len(strides)} strides for {stages} stage(s): DSVT pools between two stages, so "
            f"{stages - 1} of them can work"
        )
    return ""


def _lesson(stages: int) -> tuple[str, ...]:
    return (
        f"block_name has {stages} entries, so there are {stages} stages and {stages - 1} "
        "transitions; each takes one [dx, dy, dz], x first.",
        "The BEV map gets lower only where MAP_TO_BEV reads what DSVT's last stage wrote.",
    )
