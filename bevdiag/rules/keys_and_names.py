"""Rules about what a reader of configs takes for something else, or not at all."""

from collections.abc import Collection, Iterator, Mapping

from bevdiag.config import Document, NoteCode
from bevdiag.config.around import is_own_module
from bevdiag.config.modules import (
    DATA_STEPS,
    DETECTOR,
    PUBLISHED,
    built_names,
    is_batch_size,
    is_slip,
)
from bevdiag.config.nearest import nearest_names
from bevdiag.config.parts import checkpoint_keys, dsvt_key, listed, text
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Confidence, ConfigEvidence, Finding, Severity

_SECTIONS = ("", "OPTIMIZATION", "DATA_CONFIG", "MODEL")


def scalar_read_as_string(evidence: ConfigEvidence) -> Iterator[Finding]:
    """A number that OpenPCDet's YAML reader takes for text.

    What it means: A value such as 1e-3 arrives in the training code as the text "1e-3". Arithmetic
        on it fails late, or compares as text.
    What is printed:
        not supported between instances of 'float' and 'str'
        can't multiply sequence by non-int of type 'float'
        unsupported operand type(s) for ...: 'str' and 'float'
    Why it happens: PyYAML reads YAML 1.1, where a number with an exponent needs a dot and a sign:
        1.0e-3. Other readers, YAML 1.2's among them, take 1e-3 for a number too.
    How to fix: Write the dot and the sign, or no exponent: 1.0e-3 or 0.001.
    Seen in: yaml/pyyaml#173: numbers in scientific notation without a dot are parsed as strings.
    """
    yield from _noted("BEV001", NoteCode.NUMBER_AS_TEXT, evidence)


def duplicate_key(evidence: ConfigEvidence) -> Iterator[Finding]:
    """A key stands twice in one section.

    What it means: Only the last of them counts; what the first one says is lost without a word.
    Why it happens: YAML forbids it, but PyYAML keeps the last and says nothing. Most often a block
        was copied and its old lines were left in.
    How to fix: Remove the one that should not count.
    Seen in: yaml/pyyaml#165: duplicate keys are overwritten with the last value instead of being
        refused.
    """
    yield from _noted("BEV002", NoteCode.DUPLICATE_KEY, evidence)


def ambiguous_scalar(evidence: ConfigEvidence) -> Iterator[Finding]:
    """A value that one YAML reader takes for another than the next.

    What it means: OpenPCDet's reader (YAML 1.1) takes on, off, yes and no for booleans, 012 for
        ten, and 1:30 for ninety. A reader of YAML 1.2, and most people, do not.
    Why it happens: The rules of YAML 1.1 were made for convenience and taken back in 1.2.
    How to fix: Write true or false, and numbers in decimal digits; quote what is meant as text.
    Seen in: yaml/pyyaml#613: yes, no, on and off become booleans.
    """
    yield from _noted("BEV003", NoteCode.AMBIGUOUS_SCALAR, evidence)


def unknown_key(evidence: ConfigEvidence) -> Iterator[Finding]:
    """A key that nothing reads.

    What it means: The module goes on with its default, as if the line were not there.
    Why it happens: OpenPCDet asks its settings for the keys that it knows and never for the rest,
        so a slip of the pen is silent. Some names look like slips and are not: DSVT's own
        repository reads ues_checkpoint, OpenPCDet's copy of it USE_CHECKPOINT, and either ignores
        the other.
    How to fix: Correct the key to the one that the finding names, or remove it.
    Seen in: Haiyang-W/DSVT#27: the maintainers' advice against too little memory is torch's
        checkpointing, which the key's two spellings make easy to miss.
    """
    yield from _noted("BEV004", NoteCode.UNKNOWN_KEY, evidence)
    document, dsvt = evidence.document, dsvt_key(evidence.document)
    keys = checkpoint_keys(document)
    if dsvt is None or keys is None:
        return
    read, ignored = keys
    is_fork = dsvt != "MODEL.BACKBONE_3D"
    if document.get(f"{dsvt}.{ignored}") and not document.get(f"{dsvt}.{read}"):
        reader = "the DSVT repository's code and its forks read" if is_fork else "OpenPCDet reads"
        yield finding(
            "BEV004",
            f"{reader} {read}, and nothing checkpoints for {ignored}",
            key=f"{dsvt}.{ignored}",
        )


def unread(document: Document, messages: Mapping[str, str]) -> Iterator[Finding]:
    """Yield a finding for every key that a repository's own code did not read.

    Args:
        document: the config.
        messages: what that means, by key.
    """
    for key, message in messages.items():
        place = document.key_location(key)
        sure = Confidence.CERTAIN
        yield finding("BEV004", message, key=key, location=place, confidence=sure)


def unknown_module(evidence: ConfigEvidence) -> Iterator[Finding]:
    """A module or a step of the data has a NAME that OpenPCDet does not know.

    What it means: OpenPCDet looks the NAME up in a dict of its classes, and building ends in a
        KeyError. Data processors and augmentations are methods, and end in an AttributeError.
    What is printed:
        __all__[...]( KeyError: '<...>'
        __all__[...]( ... KeyError: '<...>'
        'DataProcessor' object has no attribute '<...>'
        'DataAugmentor' object has no attribute '<...>'
        'PointFeatureEncoder' object has no attribute '<...>'
    Why it happens: A slip of the pen; a module of a fork; or a class that exists in a file but was
        never entered in the dict, as SparseHeightCompression in DSVT's repository.
    How to fix: Take one of the names that the finding lists, or enter your class in the dict of its
        folder. Where bevdiag itself models the module, it says so and goes on.
    Seen in: open-mmlab/OpenPCDet#823: KeyError: 'PointHeadSimple'.
    """
    for slot, published in PUBLISHED.items():
        key = f"MODEL.{slot}" if slot == DETECTOR else f"MODEL.{slot}.NAME"
        name = text(evidence.document, key)
        location = evidence.document.key_location(key)
        if name is None or name in published or is_own_module(location.file, name):
            continue
        hint = _hint(name, published)
        severity = Severity.WARNING
        if name in built_names(slot):
            message = (
                f"{name} is bevdiag's own: neither OpenPCDet nor its forks have it, so training "
                f"ends in a KeyError until your repository does{hint}"
            )
        elif is_slip(location.file, name, published):
            message = f"neither OpenPCDet nor its forks have a module {name}{hint}"
            severity = Severity.ERROR
        else:
            message = (
                f"OpenPCDet has no module {name}: training ends in a KeyError unless your "
                f"repository has it, which --source DIR shows{hint}"
            )
        yield finding("BEV008", message, key=key, severity=severity)
    yield from _of_the_data(evidence.document)


def _of_the_data(document: Document) -> Iterator[Finding]:
    """Yield a finding for every step of the data that OpenPCDet has no code for."""
    for pattern, (what, known) in DATA_STEPS.items():
        before, _, after = f"DATA_CONFIG.{pattern}".partition(".*")
        count = len(listed(document, before))
        keys = [f"{before}.{index}{after}" for index in range(count)] if after else [before]
        for key in keys:
            name = text(document, key)
            file = document.key_location(key).file
            if name is None or name in known or is_own_module(file, name):
                continue
            slip = is_slip(file, name, known)
            if not (after or slip):
                continue  # many trainings have a data set of their own
            end = "" if slip else " unless your repository has it, which --source DIR shows"
            yield finding(
                "BEV008",
                f"OpenPCDet has no {what} {name}: training does not start{end}{_hint(name, known)}",
                key=key,
                severity=Severity.ERROR if slip else Severity.WARNING,
            )


def _hint(name: str, known: Collection[str]) -> str:
    near = " or ".join(nearest_names(name, known))
    return f"; the nearest names are {near}" if near else ""


def copies_differ(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Two places of the config say the same thing and differ.

    What it means: A module computes positions or sizes from its own copy of a figure, and
        everything else from DATA_CONFIG's. Nothing fails; boxes and voxels just do not lie where
        the module thinks.
    Why it happens: VOXEL_SIZE and POINT_CLOUD_RANGE are repeated in the sections of several
        modules, and a change of resolution reaches the first of them only.
    How to fix: Give the copy DATA_CONFIG's value; a YAML anchor keeps them together.
    Seen in: Haiyang-W/DSVT#51: a voxel of 0.1 m beside shapes that were left over from a voxel of
        0.32 m.
    """
    yield from _noted("BEV603", NoteCode.COPIES_DIFFER, evidence)


def batch_size_not_read(evidence: ConfigEvidence) -> Iterator[Finding]:
    """A batch size stands where nothing reads it.

    What it means: OpenPCDet reads OPTIMIZATION.BATCH_SIZE_PER_GPU alone, which is the batch of one
        GPU. The number under the other key changes nothing.
    Why it happens: The command line's --batch_size is the total over all GPUs and is divided by
        their number, so a key without PER_GPU looks as if it were that.
    How to fix: Set OPTIMIZATION.BATCH_SIZE_PER_GPU to the samples of one GPU; memory follows it,
        not the total.
    Seen in: open-mmlab/OpenPCDet#1123: two GPUs, out of memory, and a batch size that was meant in
        total and counted per GPU.
    """
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
                    key=key,
                )


def _noted(code: str, kind: NoteCode, evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding of that code for every note of that kind."""
    for note in evidence.notes:
        if note.code is kind:
            yield finding(code, note.message, key=note.key, location=note.location)
