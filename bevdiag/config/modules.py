"""The modules of OpenPCDet and its nearest forks: their names, and the keys that they read.

A key that nothing reads is most often a slip of the pen.
Telling a module that bevdiag does not model from a typo decides between "no verdict" and an error.
The names are a data file, which says where they come from.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from bevdiag.config import tree
from bevdiag.config.around import is_own_module, repository_of
from bevdiag.config.backbone_settings import VoxelFocalBackboneSettings
from bevdiag.config.document import NoteCode, ReadingNote
from bevdiag.config.head_settings import (
    AnchorHeadSettings,
    AnchorTargetSettings,
    CenterHeadSettings,
)
from bevdiag.config.model_settings import ModelSettings, OptimizationSettings
from bevdiag.config.nearest import did_you_mean, slip_of
from bevdiag.config.tree import Scalar, Section, describe
from bevdiag.errors import BevdiagError, Location, NoVerdictError

DETECTOR = "NAME"
"""The slot of the detector itself; every other slot is a section of MODEL."""

_NAMES: Any = json.loads(
    resources.files("bevdiag.config").joinpath("openpcdet_names.json").read_text("utf-8")
)
DATA_STEPS: Mapping[str, tuple[str, frozenset[str]]] = {
    key: (step["what"], frozenset(step["names"])) for key, step in _NAMES["data_steps"].items()
}
"""Keys of DATA_CONFIG whose values OpenPCDet looks up by name: what they name, and what it has."""

PUBLISHED: Mapping[str, frozenset[str]] = {
    slot: frozenset(names) for slot, names in _NAMES["modules"].items()
}
"""The modules of each slot of MODEL."""

_BACKBONE = ("MODEL", "BACKBONE_3D")
_TARGETS = ("MODEL", "DENSE_HEAD", "TARGET_ASSIGNER_CONFIG")
UNMODELLED_VALUES: Mapping[tuple[str, ...], tuple[Callable[[Any], bool], str]] = {
    (*_BACKBONE, "USE_IMG"): (bool, "focal convolutions on images"),
    (*_BACKBONE, "KERNEL_SIZE"): (
        lambda size: isinstance(size, int) and size != 3,
        "focal convolutions with another kernel than 3",
    ),
    (*_TARGETS, "NAME"): (lambda name: name == "ATSS", "the target assigner ATSS"),
    (*_TARGETS, "MATCH_HEIGHT"): (bool, "anchors that are matched by their 3D IoU"),
    (*_TARGETS, "POS_FRACTION"): (
        lambda share: isinstance(share, (int, float)) and share >= 0,
        "targets of which a share is sampled",
    ),
    (*_TARGETS, "BOX_CODER"): (
        lambda name: name in ("PreviousResidualDecoder", "PreviousResidualRoIDecoder"),
        "box coders other than ResidualCoder",
    ),
    ("MODEL", "DENSE_HEAD", "LOSS_CONFIG", "REG_LOSS_TYPE"): (
        lambda name: name == "WeightedL1Loss",
        "WeightedL1Loss, which has a precision of its own",
    ),
    ("MODEL", "DENSE_HEAD", "USE_MULTIHEAD"): (bool, "anchors of several heads in one"),
}
"""Values of modules that bevdiag builds, each with what it switches on that bevdiag leaves out."""


def built_names(slot: str) -> tuple[str, ...]:
    """Return the names that bevdiag builds in a slot, as its settings say; none for other slots."""
    field = ModelSettings.model_fields.get(slot.lower())
    return () if field is None else tuple(_literal_names(field.annotation))


def _literal_names(annotation: Any) -> Iterator[str]:
    """Yield the NAMEs in a field's type: a literal, or one or more settings that have a `name`."""
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif fields := getattr(annotation, "model_fields", None):
        yield from _literal_names(fields["name"].annotation)
    else:
        for member in get_args(annotation):
            yield from _literal_names(member)


def check_modules(root: Section) -> None:
    """Check that bevdiag builds every module that MODEL names, with the options that it has.

    Raises:
        ConfigError: for a NAME that is missing or that no known code base has.
        NoVerdictError: for modules that OpenPCDet has and bevdiag does not build, all of them
            named, and for options of theirs that bevdiag does not model.
    """
    model = root.entries.get("MODEL")
    if not isinstance(model, Section):
        found = "is missing" if model is None else f"expected a section, found {describe(model)}"
        raise tree.error_at(root, ("MODEL",), found)
    unmodelled: list[str] = []
    first: Location | None = None
    for slot in PUBLISHED:
        path = ("MODEL", slot) if slot == DETECTOR else ("MODEL", slot, "NAME")
        section = model.entries.get(slot)
        # CenterPoint's template skips a module whose section is missing or empty.
        is_null = isinstance(section, Scalar) and section.value is None
        if slot != DETECTOR and (section is None or is_null):
            continue
        node = _name(root, path)
        name = str(node.value)
        if name in built_names(slot):
            continue
        if name not in PUBLISHED[slot]:
            raise _unknown(root, path, slot, name)
        first = first or node.location
        unmodelled.append(f"{name} ({tree.dotted(path)})")
    if unmodelled:
        plural = "is an OpenPCDet module" if len(unmodelled) == 1 else "are OpenPCDet modules"
        raise NoVerdictError(
            f"{first}: {', '.join(unmodelled)} {plural} that bevdiag does not model"
        )
    for option, (is_foreign, what) in UNMODELLED_VALUES.items():
        value = tree.find(root, option)
        if value is not None and is_foreign(tree.plain(value)):
            message = f"{value.location}: {tree.dotted(option)}: bevdiag does not model {what}"
            raise NoVerdictError(message)


def _name(root: Section, path: tree.Path) -> Scalar:
    node = tree.find(root, path)
    if node is None:
        raise tree.error_at(root, path, "is missing: it says which module to build")
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        raise tree.error_at(root, path, f"expected the name of a module, found {describe(node)}")
    return node


def _unknown(root: Section, path: tree.Path, slot: str, name: str) -> BevdiagError:
    """Return the error of a name that is a slip, or that only the user's repository can have."""
    built = built_names(slot)
    known = {*built, *PUBLISHED[slot]}
    where = tree.descend(root, path)[0].location
    if is_own_module(where.file, name) or not is_slip(where.file, name, known):
        return NoVerdictError(
            f"{where}: {tree.dotted(path)}: OpenPCDet has no module {name!r}: if it is your "
            "repository's own, --source DIR runs its code"
        )
    builds = ", ".join(built) or "no module of this kind"
    message = f"unknown module {name!r}{did_you_mean(name, known) or '.'} bevdiag builds: {builds}"
    return tree.error_at(root, path, message)


def is_slip(file: Path, name: str, known: Iterable[str]) -> bool:
    """Whether an unknown module's name is wrong for certain, rather than a fork's own.

    In a repository that does not have it, it is; elsewhere a known name is all but the same.
    """
    return repository_of(file) is not None or slip_of(name, known) is not None


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
