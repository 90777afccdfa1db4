"""One stack of layers keeps most of the memory, and could be computed twice instead.

What it means:
    Two fifths or more of the peak are activations that one module keeps for its backward pass.
    Checkpointing keeps the inputs of its blocks alone and computes the rest again.

Why it happens:
    Every operation saves what its gradient needs. In a deep stack that adds up to many times the
    stack's input.

How to fix:
    Checkpoint the blocks (torch.utils.checkpoint); DSVT has a switch for it, USE_CHECKPOINT in
    OpenPCDet and ues_checkpoint in the original. It costs one more forward pass of the stack and
    changes no result.

Seen in:
    Haiyang-W/DSVT#27 (https://github.com/Haiyang-W/DSVT/issues/27): the authors' answer to too
    little memory is torch's checkpointing, which halves it.
"""

from collections.abc import Iterator

from bevdiag.config.written import checkpoint_keys, dsvt_key
from bevdiag.memory.lifetimes import saved_bytes_by_module
from bevdiag.memory.oom import format_size
from bevdiag.memory.verdict import Verdict
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import TraceEvidence
from bevdiag.rules.finding import Finding

_SHARE = 0.4


def check(evidence: TraceEvidence) -> Iterator[Finding]:
    """Yield a finding for the innermost stack with two fifths of a peak that does not fit."""
    if evidence.verdict not in (Verdict.OVER, Verdict.DEPENDS):
        return
    saved = saved_bytes_by_module(evidence.trace.stream)
    enough = _SHARE * evidence.profile.peak.allocated_bytes
    stacks = [
        layer.name
        for layer in evidence.trace.layers
        if layer.has_children and saved.get(layer.name, 0) > enough
    ]
    if not stacks:
        return
    stack = max(stacks, key=lambda name: name.count("."))
    yield finding(
        "BEV502",
        f"{stack} keeps {format_size(saved[stack])} for its backward pass, "
        f"{saved[stack] / evidence.profile.peak.allocated_bytes:.0%} of the peak: checkpointing "
        f"would free most of it for one more forward pass{_switch(evidence, stack)}",
        module=stack,
    )


def _switch(evidence: TraceEvidence, stack: str) -> str:
    """What switches it on, where the config has such a key."""
    section, keys = dsvt_key(evidence.document), checkpoint_keys(evidence.document)
    if section is None or keys is None or not stack.startswith("backbone_3d"):
        return ""
    read, other = keys
    elsewhere = f" ({other} in DSVT's own repository)" if read == "USE_CHECKPOINT" else ""
    return f": {section}.{read}: true{elsewhere}"
