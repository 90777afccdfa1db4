"""A sparse volume is made dense, and for a moment it is there twice.

What it means:
    A sparse tensor of a GiB or more (dense) is turned into [B, C, D, H, W], most of it zeros.

Why it happens:
    spconv's dense() fills a channels-last tensor and then copies it into channels-first order, so
    both are alive at once. Reducing the height afterwards makes the map small, not the volume.

How to fix:
    Reduce the height on the sparse tensor: SparseHeightCompression with MODE sparse_max,
    sparse_mean or sparse_sum makes the same map without the volume.

Seen in:
    traveller59/second.pytorch#82 (https://github.com/traveller59/second.pytorch/issues/82): memory
    that follows the grid's volume rather than its occupied voxels.
"""

from collections.abc import Iterator

from bevdiag.memory.events import Phase
from bevdiag.memory.oom import format_size
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import StepEvidence
from bevdiag.rules.finding import Finding

_NOTEWORTHY_BYTES = 2**30
_MAPPER = "map_to_bev_module"


def check(evidence: StepEvidence) -> Iterator[Finding]:
    """Yield a finding for a dense volume of a GiB or more."""
    map_input, batch_size = evidence.map_input, evidence.batch.batch_size
    elements = (
        batch_size * map_input.channels * map_input.depth * map_input.height * map_input.width
    )
    stream = evidence.trace.stream
    volumes = [
        event
        for event in stream.allocs(stream.where(phase=Phase.FORWARD, step=1))
        if event.module.startswith(_MAPPER)
        and len(event.shape) == 5
        and event.shape[0] * event.shape[1] * event.shape[2] * event.shape[3] * event.shape[4]
        == elements
    ]
    if not volumes or volumes[0].nbytes < _NOTEWORTHY_BYTES:
        return
    cells = elements // map_input.channels
    # Behind FocalDSVT the volume holds what the encoder kept; elsewhere the count is not at hand.
    occupied = "".join(
        f", for {kept.used / cells:.1%} of occupied cells" for kept in evidence.kept_voxels
    )
    yield finding(
        "BEV306",
        f"a sparse volume is made dense: {format_size(volumes[0].nbytes)}, held {len(volumes)} "
        f"times at once{occupied}",
        document=evidence.document,
        key="MODEL.MAP_TO_BEV.NAME",
        module=_MAPPER,
        detail=(
            "SparseHeightCompression with MODE sparse_max, sparse_mean or sparse_sum makes the "
            "same map as the dense reduction without the volume.",
        ),
    )
