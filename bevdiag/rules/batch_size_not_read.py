"""A batch size stands where nothing reads it.

What it means:
    OpenPCDet reads OPTIMIZATION.BATCH_SIZE_PER_GPU alone, which is the batch of one GPU. The number
    under the other key changes nothing.

Why it happens:
    The command line's --batch_size is the total over all GPUs and is divided by their number, so a
    key without PER_GPU looks as if it were that.

How to fix:
    Set OPTIMIZATION.BATCH_SIZE_PER_GPU to the samples of one GPU; memory follows it, not the total.

Seen in:
    open-mmlab/OpenPCDet#1123 (https://github.com/open-mmlab/OpenPCDet/issues/1123): two GPUs, out
    of memory, and a batch size that was meant in total and counted per GPU.
"""

from collections.abc import Iterator, Mapping

from bevdiag.config.unknown_keys import is_batch_size
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding

_SECTIONS = ("", "OPTIMIZATION", "DATA_CONFIG", "MODEL")


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding for every such key at the top and in the sections below it."""
    document = evidence.document
    for section in _SECTIONS:
        values = document.get(section) if section else dict.fromkeys(document.root.entries, 0)
        for name in values if isinstance(values, Mapping) else ():
            key = f"{section}.{name}" if section else name
            if is_batch_size(name) and key != "OPTIMIZATION.BATCH_SIZE_PER_GPU":
                yield finding(
                    "BEV605",
                    f"nothing reads {name}: OpenPCDet takes OPTIMIZATION.BATCH_SIZE_PER_GPU, the "
                    "samples of one GPU",
                    document=document,
                    key=key,
                )
