"""A point feature is used that the data set's points do not have.

What it means:
    The encoder of point features looks each used name up in the list of stored ones, and the first
    sample ends in a ValueError.

What is printed:
    ValueError: '<...>' is not in list

    ValueError: tuple.index(x): x not in tuple

Why it happens:
    used_feature_list was copied from another data set's config, or a name is spelt otherwise there.

How to fix:
    Use names of src_feature_list alone; if the files do hold the value, enter it there in its
    column's place.

Seen in:
    open-mmlab/OpenPCDet#288 (https://github.com/open-mmlab/OpenPCDet/issues/288): lists of another
    data set, with a timestamp, beside points of four values.
"""

from collections.abc import Iterator

from bevdiag.config.nearest import did_you_mean
from bevdiag.config.written import text
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding

_ENCODING = "DATA_CONFIG.POINT_FEATURE_ENCODING"
OWN_ENCODING = (None, "absolute_coordinates_encoding")
"""The only encoding that OpenPCDet has."""
_COORDINATES = ("x", "y", "z")


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding for every used name that is not stored."""
    document = evidence.document
    key = f"{_ENCODING}.used_feature_list"
    used, stored = document.get(key), document.get(f"{_ENCODING}.src_feature_list")
    if not isinstance(used, tuple) or not isinstance(stored, tuple):
        return
    if text(document, f"{_ENCODING}.encoding_type") not in OWN_ENCODING:
        return  # a fork's encoder may do anything
    names = [str(name) for name in stored]
    for name in map(str, used):
        # The encoder takes the coordinates by their place.
        if name not in names and name not in _COORDINATES:
            yield finding(
                "BEV010",
                f"used_feature_list has {name}, and src_feature_list only {', '.join(names)}"
                f"{did_you_mean(name, names)}",
                document=document,
                key=key,
            )
