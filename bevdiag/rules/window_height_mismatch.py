"""DSVT's windows are flat where the grid is not, or the other way round.

What it means:
    The position embedding is built for 3 coordinates where the stage's grid is more than one voxel
    high, but is fed 2 where the window is one voxel high. The product of the two fails.

Why it happens:
    The two heights are decided in two places of the code by two different figures of the config.

How to fix:
    Give the stage a window that is 1 high exactly where its grid is; hybrid_factor's height
    multiplies the shifted windows.

Seen in:
    Haiyang-W/DSVT#64 (https://github.com/Haiyang-W/DSVT/issues/64): pillars on another data set,
    whose windows and shapes have to agree on the height.
"""

from collections.abc import Iterator

from bevdiag.config.written import as_triple, dsvt_key, triple
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding for every stage where only one of the two is 1 high."""
    document, dsvt = evidence.document, dsvt_key(evidence.document)
    layer = f"{dsvt}.INPUT_LAYER"
    shape, factor = (
        triple(document, f"{layer}.sparse_shape"),
        document.get(f"{layer}.hybrid_factor"),
    )
    windows, strides = (
        document.get(f"{layer}.window_shape"),
        document.get(f"{layer}.downsample_stride"),
    )
    if shape is None or not isinstance(windows, tuple) or not isinstance(strides, tuple):
        return
    height = shape[2]
    hybrid = as_triple(factor) or (1, 1, 1)
    for stage, window in enumerate(map(as_triple, windows)):
        stride = as_triple(strides[stage - 1]) if 0 < stage <= len(strides) else (1, 1, 1)
        if window is None or stride is None:
            return
        height = -(-height // stride[2])
        flat = {window[2] == 1, window[2] * hybrid[2] == 1}
        if flat != {height == 1}:
            yield finding(
                "BEV107",
                f"stage {stage + 1} is {height} voxels high, its windows {window[2]} and "
                f"{window[2] * hybrid[2]}: expected all of them to be 1, or none",
                document=document,
                key=f"{layer}.window_shape",
            )
