"""Keys of a module's section that nothing reads: most often a slip of the pen."""

from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from bevdiag.config import tree
from bevdiag.config.backbone_settings import VoxelFocalBackboneSettings
from bevdiag.config.document import NoteCode, ReadingNote
from bevdiag.config.head_settings import (
    AnchorHeadSettings,
    AnchorTargetSettings,
    CenterHeadSettings,
)
from bevdiag.config.model_settings import ModelSettings, OptimizationSettings
from bevdiag.config.nearest import did_you_mean, slip_of
from bevdiag.config.tree import Section

_OF_SCHEDULES = (
    "BETAS", "DECAY_STEP_LIST", "DIV_FACTOR", "LOSS_SCALE_FP16", "LR_CLIP", "LR_DECAY", "LR_WARMUP",
    "MOMS", "NUM_EPOCHS", "PCT_START", "WARMUP_EPOCH", "WARMUP_ITER",
)  # fmt: skip
WITHOUT_EFFECT: Mapping[type[BaseModel], frozenset[str]] = {
    VoxelFocalBackboneSettings: frozenset(
        {"IMG_PRETRAIN", "KERNEL_SIZE", "SKIP_MASK_KERNEL_IMG", "USE_IMG"}
    ),
    ModelSettings: frozenset({"POST_PROCESSING"}),
    AnchorHeadSettings: frozenset({"CLASS_AGNOSTIC", "DIR_LIMIT_OFFSET", "USE_MULTIHEAD"}),
    AnchorTargetSettings: frozenset({"MATCH_HEIGHT", "POS_FRACTION", "SAMPLE_SIZE"}),
    CenterHeadSettings: frozenset({"CLASS_AGNOSTIC", "POST_PROCESSING"}),
    OptimizationSettings: frozenset(_OF_SCHEDULES),
}
"""Keys that OpenPCDet reads and that, where bevdiag gets this far, change no byte of a step."""


def is_batch_size(key: str) -> bool:
    """Whether a key means to say how many samples a batch has; those have a rule of their own."""
    return key.upper().replace("_", "").startswith("BATCHSIZE") or key.upper() in (
        "TOTAL_BATCH_SIZE",
        "TRAIN_BATCH_SIZE",
    )


def unknown_keys(settings: BaseModel, root: Section, path: tree.Path) -> Iterator[ReadingNote]:
    """Yield notes on the keys below `path` that the settings, and those in them, do not know."""
    fields = type(settings).model_fields
    known = [field.alias or name for name, field in fields.items()]
    for key in settings.model_extra or ():
        if key in WITHOUT_EFFECT.get(type(settings), ()) or is_batch_size(key):
            continue
        here = (*path, key)
        # FocalDSVT's part is DSVT's own code, which reads the misspelt name; OpenPCDet's copy does
        # not. Neither may be recommended where it is ignored.
        ignored = "USE_CHECKPOINT" if path[-1:] == ("DSVT",) else "ues_checkpoint"
        read = [name for name in known if name != ignored]
        message = f"nothing reads {key}{did_you_mean(key, read)}"
        where = tree.key_location(root, here)
        yield ReadingNote(NoteCode.UNKNOWN_KEY, message, tree.dotted(here), where)
    for name, key in zip(fields, known, strict=True):
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from unknown_keys(value, root, (*path, key))
        elif isinstance(value, dict):
            for entry, below in value.items():
                if isinstance(below, BaseModel):
                    yield from unknown_keys(below, root, (*path, key, entry))


def foreign_keys(settings: BaseModel) -> tuple[str, ...]:
    """Keys of a module that OpenPCDet's module does not read and that are no slips: a fork's own.

    A module that has them is another one than the settings describe.
    """
    known = [field.alias or name for name, field in type(settings).model_fields.items()]
    without = WITHOUT_EFFECT.get(type(settings), frozenset())
    return tuple(
        key
        for key in settings.model_extra or ()
        if key not in without and slip_of(key, known) is None
    )
