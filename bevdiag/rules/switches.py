"""Rules about switches of the training code that save memory, and which keys that code reads."""

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bevdiag.config.backbone_settings import DsvtSettings, FocalDsvtSettings
from bevdiag.config.parts import checkpoint_keys, dsvt_key
from bevdiag.memory.events import Category
from bevdiag.memory.history import saved_bytes_by_module
from bevdiag.memory.sizes import format_size
from bevdiag.memory.verdict import Verdict
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import (
    Finding,
    Fix,
    Fixable,
    Price,
    StepEvidence,
    TraceEvidence,
    nodes,
)
from bevdiag.trace.wiring import is_inside

_WITH_BF16 = (8, 0)
_WITH_FP16 = (7, 0)
_AMP = "OPTIMIZATION.USE_AMP"
_USE_AMP = re.compile(r"\bUSE_AMP\b")
_SHARE = 0.4
_CHECKPOINTING = re.compile(r"checkpoint|ckpt|^with_cp$", re.IGNORECASE)
"""How code names a switch of activation checkpointing."""


def amp_available(evidence: StepEvidence) -> Iterator[Finding]:
    """The step does not fit in single precision, and the GPU could run it in half.

    What it means: Activations are kept in float32 though the GPU computes in bfloat16 or float16 as
        well. Autocast would keep those of convolutions and matrix products at half the size.
    Why it happens: OpenPCDet trains in single precision unless it is asked otherwise (USE_AMP or
        --use_amp).
    How to fix: Train with autocast. bfloat16 (compute capability 8.0 and later) needs no loss
        scaling, float16 does. Norms, losses and sums stay in float32, and spconv knows float16
        alone.
    Seen in: torch-points3d/torch-points3d#618
        (https://github.com/torch-points3d/torch-points3d/pull/618): mixed precision takes a sparse
        model from 48.8 to 28.8 GB.
    """
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
        key="" if evidence.document.get(_AMP) is None else _AMP,
    )


def amp_available_fixes(step: Fixable) -> Iterator[Fix]:
    """Yield the key for autocast, for code that reads it."""
    usual: tuple[tuple[str, ...], object] | None = (tuple(_AMP.split(".")), True)
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


def checkpoint_candidate(evidence: TraceEvidence) -> Iterator[Finding]:
    """One stack of layers keeps most of the memory, and could be computed twice instead.

    What it means: Two fifths or more of the peak are activations that one module keeps for its
        backward pass. Checkpointing keeps the inputs of its blocks alone and computes the rest
        again.
    Why it happens: Every operation saves what its gradient needs. In a deep stack that adds up to
        many times the stack's input.
    How to fix: Checkpoint the blocks (torch.utils.checkpoint); DSVT has a switch for it,
        USE_CHECKPOINT in OpenPCDet and ues_checkpoint in the original. It costs one more forward
        pass of the stack and changes no result.
    Seen in: Haiyang-W/DSVT#27: the authors' answer to too little memory is torch's checkpointing,
        which halves it.
    """
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
    document = evidence.document
    section, keys = dsvt_key(document), checkpoint_keys(document)
    if section is None or keys is None:
        return ""
    read, other = keys
    if document.get(f"{section}.{read}") or not is_inside(stack, section.lower().partition(".")[2]):
        return ""
    elsewhere = f" ({other} in DSVT's own repository)" if read == "USE_CHECKPOINT" else ""
    return f": {section}.{read}: true{elsewhere}"


def checkpoint_candidate_fixes(step: Fixable) -> Iterator[Fix]:
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
        for read in keys_read(step.root.resolve(), _CHECKPOINTING):
            for path, named in nodes(model, ("MODEL",)):
                if not isinstance(named, dict):
                    continue
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


_IS_CONFIG = re.compile(r"cfg|config", re.IGNORECASE)
_LARGEST_FILE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class KeyRead:
    """One place that reads a key.

    Attributes:
        key: as it is spelt there.
        owner: the class around it, empty outside of all.
        is_switch: whether it is off where the key is not written.
    """

    key: str
    owner: str
    is_switch: bool


@lru_cache(maxsize=8)
def keys_read(root: Path, wanted: re.Pattern[str]) -> tuple[KeyRead, ...]:
    """Every reading of a key that matches, of a mapping that is named like a config.

    Args:
        root: the repository's folder.
        wanted: is searched for in the key.
    """
    found: dict[KeyRead, None] = {}
    for file in _code(root):
        try:
            text = file.read_text(encoding="utf-8")
            if len(text) > _LARGEST_FILE_BYTES or not wanted.search(text):
                continue
            tree = ast.parse(text)
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        found |= dict.fromkeys(
            read for read in _reads(tree, "") if wanted.search(read.key) is not None
        )
    return tuple(found)


def _code(root: Path) -> Iterator[Path]:
    """Yield the files of the code; folders without any, such as data, are not looked into."""
    for folder, below, names in os.walk(root):
        files = sorted(name for name in names if name.endswith(".py"))
        yield from (Path(folder, name) for name in files)
        if not files and Path(folder) != root:
            below.clear()
        below.sort()


def _reads(node: ast.AST, owner: str) -> Iterator[KeyRead]:
    for below in ast.iter_child_nodes(node):
        inside = below.name if isinstance(below, ast.ClassDef) else owner
        read = _read(below, owner)
        if read is not None:
            yield read
        yield from _reads(below, inside)


def _read(node: ast.AST, owner: str) -> KeyRead | None:
    """Return the key that a node reads: `cfg.get("KEY", False)`, `cfg["KEY"]` or `cfg.KEY`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        key = node.args[0] if node.func.attr == "get" and node.args else None
        if not isinstance(key, ast.Constant) or not _is_config(node.func.value):
            return None
        default = node.args[1] if len(node.args) > 1 else None
        is_switch = isinstance(default, ast.Constant) and default.value is False
        return KeyRead(str(key.value), owner, is_switch)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return KeyRead(str(node.slice.value), owner, False) if _is_config(node.value) else None
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        return KeyRead(node.attr, owner, False) if _is_config(node.value) else None
    return None


def _is_config(node: ast.expr) -> bool:
    """Whether the name of what is read from says that it is a config."""
    names = [n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)]
    names += [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
    return any(_IS_CONFIG.search(name) for name in names)
