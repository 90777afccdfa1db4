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

import re
from collections.abc import Iterator

from bevdiag.config.settings import DsvtSettings, FocalDsvtSettings
from bevdiag.config.tree import Path as Keys
from bevdiag.config.written import checkpoint_keys, dsvt_key
from bevdiag.memory.lifetimes import saved_bytes_by_module
from bevdiag.memory.oom import format_size
from bevdiag.memory.verdict import Verdict
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import TraceEvidence
from bevdiag.rules.finding import Finding
from bevdiag.rules.fix import Fix, Fixable, Price
from bevdiag.rules.keys_read import keys_read

_SHARE = 0.4
_SWITCHES = re.compile(r"checkpoint|ckpt|^with_cp$", re.IGNORECASE)
"""How code names a switch of activation checkpointing."""


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
    """Name what switches it on, where the config has such a key."""
    section, keys = dsvt_key(evidence.document), checkpoint_keys(evidence.document)
    if section is None or keys is None or not stack.startswith("backbone_3d"):
        return ""
    read, other = keys
    elsewhere = f" ({other} in DSVT's own repository)" if read == "USE_CHECKPOINT" else ""
    return f": {section}.{read}: true{elsewhere}"


def fixes(step: Fixable) -> Iterator[Fix]:
    """Yield the switch of DSVT, or those that a class named in a repository's config reads."""
    backbone = None if step.config is None else step.config.model.backbone_3d
    dsvt = backbone.dsvt if isinstance(backbone, FocalDsvtSettings) else backbone
    section, keys = dsvt_key(step.document), checkpoint_keys(step.document)
    if isinstance(dsvt, DsvtSettings) and section is not None and keys is not None:
        is_on = dsvt.USE_CHECKPOINT or dsvt.ues_checkpoint
        if not is_on:
            yield Fix(
                id="dsvt-checkpoint",
                group="checkpoint",
                price=Price.TIME,
                title="activation checkpointing of the DSVT blocks",
                loses="time: DSVT's blocks run forward twice",
                edits={(*section.split("."), keys[0]): True},
            )
    if step.settings is not None and step.root is not None:
        model = step.settings.values().get("MODEL")
        for read in keys_read(step.root.resolve(), _SWITCHES):
            for path, named in _sections(model, ("MODEL",)):
                now = named.get(read.key)
                is_off = now is False or (now is None and read.is_switch)
                if is_off and read.owner in (named.get("NAME"), path[-1]):
                    yield Fix(
                        id=f"checkpoint-{'-'.join(path[1:]).lower()}",
                        group="checkpoint",
                        price=Price.TIME,
                        title=f"activation checkpointing in {read.owner}",
                        loses="time: what is checkpointed runs forward twice",
                        edits={(*path, read.key): True},
                    )


def _sections(node: object, path: Keys) -> Iterator[tuple[Keys, dict[str, object]]]:
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from _sections(value, (*path, str(key)))
