"""How much a config may hold: far more than any honest one, and little enough to read at once."""

from dataclasses import dataclass

MAX_BYTES = 1 << 20
MAX_NODES = 10_000


@dataclass(slots=True)
class Allowance:
    """What is left for the files of one config, which share it.

    Attributes:
        num_bytes: of text.
        num_nodes: values and keys, those that an alias brings in again included.
    """

    num_bytes: int = MAX_BYTES
    num_nodes: int = MAX_NODES
