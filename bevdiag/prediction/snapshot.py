"""The allocator's history of a run, as plain values that a renderer can write down."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The allocation that a block is of, or that made the allocator act; step 0 is loading."""

    module: str
    op: str
    category: str
    phase: str
    step: int
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotEntry:
    """One action of the allocator: alloc, free_completed, segment_alloc, segment_free or oom.

    `nbytes` is a segment's size, else what was asked for; `free_bytes` is what CUDA could still
    give, at an oom.
    """

    action: str
    address: int
    nbytes: int
    free_bytes: int
    owner: Owner


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotBlock:
    """A block of `size` bytes, of which `nbytes` were asked for; a free one has no owner."""

    address: int
    size: int
    nbytes: int
    owner: Owner | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSegment:
    """A segment at the end of the run; its blocks are in address order and fill it."""

    address: int
    size: int
    is_small: bool
    blocks: tuple[SnapshotBlock, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the allocator did from loading to the last step, and what it holds then."""

    entries: tuple[SnapshotEntry, ...]
    segments: tuple[SnapshotSegment, ...]
