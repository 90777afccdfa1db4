"""A module or a step of the data has a NAME that OpenPCDet does not know.

What it means:
    OpenPCDet looks the NAME up in a dict of its classes, and building ends in a KeyError. Data
    processors and augmentations are methods, and end in an AttributeError.

What is printed:
    __all__[...]( KeyError: '<...>'

    __all__[...]( ... KeyError: '<...>'

    'DataProcessor' object has no attribute '<...>'

    'DataAugmentor' object has no attribute '<...>'

    'PointFeatureEncoder' object has no attribute '<...>'

Why it happens:
    A slip of the pen; a module of a fork; or a class that exists in a file but was never entered in
    the dict, as SparseHeightCompression in DSVT's repository.

How to fix:
    Take one of the names that the finding lists, or enter your class in the dict of its folder.
    Where bevdiag itself models the module, it says so and goes on.

Seen in:
    open-mmlab/OpenPCDet#823 (https://github.com/open-mmlab/OpenPCDet/issues/823): KeyError:
    'PointHeadSimple'.
"""

from collections.abc import Iterator

from bevdiag.config import Document
from bevdiag.config.around import is_own_module
from bevdiag.config.catalogue import DATA_STEPS, DETECTOR, PUBLISHED, built_names
from bevdiag.config.modules import is_slip
from bevdiag.config.nearest import nearest_names
from bevdiag.config.written import text
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding, Severity


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding for every NAME that neither OpenPCDet nor a fork of it has."""
    for slot, published in PUBLISHED.items():
        key = f"MODEL.{slot}" if slot == DETECTOR else f"MODEL.{slot}.NAME"
        name = text(evidence.document, key)
        location = evidence.document.key_location(key)
        if name is None or name in published or is_own_module(location.file, name):
            continue
        near = " or ".join(nearest_names(name, published))
        hint = f"; the nearest names are {near}" if near else ""
        if name in built_names(slot):
            message = (
                f"{name} is bevdiag's own: neither OpenPCDet nor its forks have it, so training "
                f"ends in a KeyError until your repository does{hint}"
            )
            severity = Severity.WARNING
        elif is_slip(location.file, name, published):
            message = f"neither OpenPCDet nor its forks have a module {name}{hint}"
            severity = Severity.ERROR
        else:
            message = (
                f"OpenPCDet has no module {name}: training ends in a KeyError unless your "
                f"repository has it, which --source DIR shows{hint}"
            )
            severity = Severity.WARNING
        yield finding("BEV008", message, document=evidence.document, key=key, severity=severity)
    yield from _of_the_data(evidence.document)


def _of_the_data(document: Document) -> Iterator[Finding]:
    """Yield a finding for every step of the data that OpenPCDet has no code for."""
    for pattern, (what, known) in DATA_STEPS.items():
        before, _, after = f"DATA_CONFIG.{pattern}".partition(".*")
        entries = document.get(before)
        count = len(entries) if isinstance(entries, tuple) else 0
        keys = [f"{before}.{index}{after}" for index in range(count)] if after else [before]
        for key in keys:
            name = text(document, key)
            file = document.key_location(key).file
            if name is None or name in known or is_own_module(file, name):
                continue
            near = " or ".join(nearest_names(name, known))
            slip = is_slip(file, name, known)
            if not (after or slip):
                continue  # many trainings have a data set of their own
            end = "" if slip else " unless your repository has it, which --source DIR shows"
            yield finding(
                "BEV008",
                f"OpenPCDet has no {what} {name}: training does not start{end}"
                + (f"; the nearest names are {near}" if near else ""),
                document=document,
                key=key,
                severity=Severity.ERROR if slip else Severity.WARNING,
            )
