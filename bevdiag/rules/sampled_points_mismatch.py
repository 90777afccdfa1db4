"""The ground-truth database is read with another number of values a point than the data set has.

What it means:
    Objects from the database are cut into points of NUM_POINT_FEATURES values and laid beside the
    scene's points, which have those of src_feature_list. The first sampled object stops the loader,
    at an assertion or where the two are put together.

What is printed:
    assert obj_points.shape[0] == info['num_points_in_gt']

    assert obj_points.shape[-1] == points.shape[-1] + 1

Why it happens:
    The database was made from the files, and NUM_POINT_FEATURES stayed behind when the data set's
    features changed.

How to fix:
    Write the number of src_feature_list's names, and make the database anew if the files changed.

Seen in:
    open-mmlab/OpenPCDet#718 (https://github.com/open-mmlab/OpenPCDet/issues/718): a database whose
    points are not those of the scene, as it was made with other sweeps.
"""

from collections.abc import Iterator, Mapping

from bevdiag.config.written import text, whole
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding
from bevdiag.rules.point_feature_not_stored import OWN_ENCODING

_AUGMENTOR = "DATA_CONFIG.DATA_AUGMENTOR"
_ENCODING = "DATA_CONFIG.POINT_FEATURE_ENCODING"
_STORED = f"{_ENCODING}.src_feature_list"


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding for a sampler whose number is neither the scene's nor one frame time more."""
    document = evidence.document
    stored = document.get(_STORED)
    augmentors = document.get(f"{_AUGMENTOR}.AUG_CONFIG_LIST")
    disabled = document.get(f"{_AUGMENTOR}.DISABLE_AUG_LIST")
    if not isinstance(stored, tuple) or not isinstance(augmentors, tuple):
        return
    if text(document, f"{_ENCODING}.encoding_type") not in OWN_ENCODING:
        return  # a fork's data set may hand over anything
    for index, entry in enumerate(augmentors):
        if not isinstance(entry, Mapping) or entry.get("NAME") != "gt_sampling":
            continue
        if isinstance(disabled, tuple) and "gt_sampling" in disabled:
            continue
        key = f"{_AUGMENTOR}.AUG_CONFIG_LIST.{index}.NUM_POINT_FEATURES"
        written = whole(document, key)
        # A database of several frames has the time as one more value, which sampling drops.
        if written is not None and written not in (len(stored), len(stored) + 1):
            yield finding(
                "BEV011",
                f"gt_sampling reads {written} values a point, but src_feature_list names "
                f"{len(stored)}",
                document=document,
                key=key,
            )
