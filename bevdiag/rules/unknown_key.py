"""A key that nothing reads.

What it means:
    The module goes on with its default, as if the line were not there.

Why it happens:
    OpenPCDet asks its settings for the keys that it knows and never for the rest, so a slip of the
    pen is silent. Some names look like slips and are not: DSVT's own repository reads
    ues_checkpoint, OpenPCDet's copy of it USE_CHECKPOINT, and either ignores the other.

How to fix:
    Correct the key to the one that the finding names, or remove it.

Seen in:
    Haiyang-W/DSVT#27 (https://github.com/Haiyang-W/DSVT/issues/27): the maintainers' advice against
    too little memory is torch's checkpointing, which the key's two spellings make easy to miss.
"""

from collections.abc import Iterator, Mapping

from bevdiag.config import Document, NoteCode
from bevdiag.config.written import checkpoint_keys, dsvt_key
from bevdiag.rules.codes import finding, noted
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Confidence, Finding


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield what was noted while the config was checked, and a key meant for another repository."""
    yield from noted("BEV004", NoteCode.UNKNOWN_KEY, evidence.notes)
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
            document=document,
            key=f"{dsvt}.{ignored}",
        )


def unread(document: Document, messages: Mapping[str, str]) -> Iterator[Finding]:
    """Yield a finding for every key that a repository's own code did not read.

    Args:
        document: the config.
        messages: what that means, by key.
    """
    for key, message in messages.items():
        yield finding("BEV004", message, document=document, key=key, confidence=Confidence.CERTAIN)
