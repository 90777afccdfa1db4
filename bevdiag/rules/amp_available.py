"""The step does not fit in single precision, and the GPU could run it in half.

What it means:
    Activations are kept in float32 though the GPU computes in bfloat16 or float16 as well. Autocast
    would keep those of convolutions and matrix products at half the size.

Why it happens:
    OpenPCDet trains in single precision unless it is asked otherwise (USE_AMP or --use_amp).

How to fix:
    Train with autocast. bfloat16 (compute capability 8.0 and later) needs no loss scaling, float16
    does. Norms, losses and sums stay in float32, and spconv knows float16 alone.

Seen in:
    torch-points3d/torch-points3d#618 (https://github.com/torch-points3d/torch-points3d/pull/618):
    mixed precision takes a sparse model from 48.8 to 28.8 GB.
"""

import re
from collections.abc import Iterator

from bevdiag.config.settings import FocalDsvtSettings
from bevdiag.memory.events import Category
from bevdiag.memory.oom import format_size
from bevdiag.memory.verdict import Verdict
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import StepEvidence
from bevdiag.rules.finding import Finding
from bevdiag.rules.fix import Fix, Fixable, Price
from bevdiag.rules.keys_read import keys_read

_WITH_BF16 = (8, 0)
_WITH_FP16 = (7, 0)
_SWITCH = "OPTIMIZATION.USE_AMP"
_USE_AMP = re.compile(r"\bUSE_AMP\b")


def check(evidence: StepEvidence) -> Iterator[Finding]:
    """Yield a finding where a step in float32 does not surely fit a GPU with half precision."""
    capability = evidence.target.compute_capability
    in_need = evidence.verdict in (Verdict.OVER, Verdict.DEPENDS)
    if not in_need or evidence.autocast != "off" or capability < _WITH_FP16:
        return
    single = sum(
        block.nbytes
        for block in evidence.profile.holders
        if block.alloc.category is Category.ACTIVATION and block.alloc.dtype == "float32"
    )
    dtype = "bf16" if capability >= _WITH_BF16 else "fp16"
    yield finding(
        "BEV501",
        f"{format_size(single)} of the peak are float32 activations: --autocast {dtype} would save "
        "up to half of them",
        document=evidence.document,
        key="" if evidence.document.get(_SWITCH) is None else _SWITCH,
    )


def fixes(step: Fixable) -> Iterator[Fix]:
    """Yield the key for autocast, for code that reads it."""
    usual: tuple[tuple[str, ...], object] | None = (tuple(_SWITCH.split(".")), True)
    switch = usual if step.settings is None else step.settings.half_precision
    if switch is not None and step.autocast == "off" and reads_amp(step):
        key, value = switch
        yield Fix(
            id="use-amp",
            group="precision",
            price=Price.PRECISION,
            title="fp16 autocast",
            loses="precision of matrix products and convolutions",
            edits={key: value},
            autocast="fp16",
        )


def reads_amp(step: Fixable) -> bool:
    """Whether the training code reads USE_AMP; that of the focal detector's repository does not."""
    if step.settings is not None and step.settings.is_code:
        return step.settings.half_precision is not None
    if step.root is not None:
        return bool(keys_read(step.root.resolve(), _USE_AMP))
    config = step.config
    return config is not None and not isinstance(config.model.backbone_3d, FocalDsvtSettings)
