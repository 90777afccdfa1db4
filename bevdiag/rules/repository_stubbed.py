"""Something of the repository could not run here and had a stub.

What it means:
    The model was built by the repository's own code, but a part of it (a compiled operation, a
    download, a library that is not installed) ran as a stub that makes the right shapes.

Why it happens:
    --source runs code on the CPU without compiling or downloading anything.

How to fix:
    Nothing is wrong with the config. Where the stub may ask for other memory than the original,
    the finding says so; installing the library removes it.

Seen in:
    open-mmlab/OpenPCDet#348 (https://github.com/open-mmlab/OpenPCDet/issues/348): a compiled
    operation that takes memory which no tool sees.
"""

from collections.abc import Iterable, Iterator

from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Finding


def check(notes: Iterable[str]) -> Iterator[Finding]:
    """Yield what the run of the repository's code noted."""
    for note in notes:
        yield finding("BEV902", note)
