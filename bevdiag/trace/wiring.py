"""The modules of a step: who writes what into the batch dict, who reads it, what leads nowhere.

OpenPCDet's modules are wired by the keys of one dict that they pass on: nothing but the order of
their calls decides which tensor a module reads.
"""

from dataclasses import dataclass

BEV_MAP_KEY = "spatial_features"
"""What every MAP_TO_BEV module of OpenPCDet calls the bird's-eye-view map."""
_POINT_KEYS = {"voxels": 0, "points": 1}
"""What OpenPCDet's loader calls points, and how many columns precede their features: the sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRecord:
    """One module; `depth` counts from 0 (direct children of the detector).

    `output_shape` is that of its (first) output tensor; None if it never ran.

    Channels are None where the module has none, or where nothing says which they are.
    """

    name: str
    type: str
    depth: int
    in_channels: int | None
    out_channels: int | None
    output_shape: tuple[int, ...] | None
    params: int
    has_children: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEntry:
    """One value that was put under a key, until another took its place.

    Attributes:
        written_by: module path; "" for the detector itself, None for what the loader put there.
        computed_by: the module whose code made its features, "" where autograd does not know.
        shape: of its first tensor (a sparse tensor's features [N, C]), None where it holds none.
        channels: C of that tensor, None where it has none: whole numbers are no features.
        declared: C as the writer announces it to the next module, None where it does not.
        carries_gradient: whether autograd follows it.
        read_by: who looked it up under this key, module paths in the order of their first look.
        is_read: whether anyone did, under this key or another that holds the same object.
        replaced_by: who wrote the key next; None where the value stayed to the end.
    """

    key: str
    written_by: str | None
    computed_by: str
    shape: tuple[int, ...] | None
    channels: int | None
    declared: int | None
    carries_gradient: bool
    read_by: tuple[str, ...] = ()
    is_read: bool = False
    replaced_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadBranch:
    """A module (or a lone parameter) that the loss does not reach.

    Attributes:
        path: of the module or parameter.
        params: how many of its parameters get no gradient; 0 where it has none of its own.
        leads_to: the keys of the batch that depend on it instead.
        reason: why, in a clause.
    """

    path: str
    params: int
    leads_to: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """How the modules of the last step are wired.

    Attributes:
        entries: every value of the batch dict, in the order of writing.
        bev_map: the bird's-eye-view map as it was written last, None where no module makes one.
        bev_sources: the features that the map is made of: what its module reads that autograd
            follows.
        dead_branches: what the loss does not reach.
    """

    entries: tuple[BatchEntry, ...]
    bev_map: BatchEntry | None = None
    bev_sources: tuple[BatchEntry, ...] = ()
    dead_branches: tuple[DeadBranch, ...] = ()

    @classmethod
    def of(cls, entries: tuple[BatchEntry, ...]) -> "Wiring":
        """Return the wiring that these values show, without what the loss does not reach."""
        maps = [j for j in entries if j.key == BEV_MAP_KEY and j.written_by is not None]
        if not maps:
            return cls(entries=entries)
        made_by = maps[-1].written_by or ""
        read = cls(entries=entries).read_inside(made_by)
        sources = tuple(j for j in read if j.carries_gradient and j is not maps[-1])
        return cls(entries=entries, bev_map=maps[-1], bev_sources=sources)

    @property
    def misdeclared(self) -> tuple[BatchEntry, ...]:
        """The entries whose writer announces other channels than it delivers."""
        return tuple(j for j in self.entries if j.declared not in (None, j.channels))

    @property
    def is_sound(self) -> bool:
        """Whether nothing is off."""
        return not self.dead_branches and not self.misdeclared

    def written_inside(self, module: str) -> tuple[BatchEntry, ...]:
        """Return what the module or one inside it put into the batch."""
        return tuple(entry for entry in self.entries if is_inside(entry.written_by, module))

    def read_inside(self, module: str) -> tuple[BatchEntry, ...]:
        """Return what the module or one inside it took from the batch."""
        return tuple(
            entry
            for entry in self.entries
            if any(is_inside(reader, module) for reader in entry.read_by)
        )

    def channels_into(self, module: str) -> int | None:
        """C of the features that a module takes from the batch, None where that is not one number.

        Features are what autograd follows; without those, what another module computed; without
        that, the loader's points, be they grouped or not.
        """
        taken = [j for j in self.read_inside(module) if not is_inside(j.written_by, module)]
        computed = [j for j in taken if j.written_by is not None]
        features = [j for j in computed if j.carries_gradient] or computed
        found = {j.channels for j in features if j.channels is not None}
        if not found:
            keys = {j.key: j.channels for j in taken if j.channels is not None}
            found = {keys[key] - extra for key, extra in _POINT_KEYS.items() if key in keys}
        return found.pop() if len(found) == 1 else None


def is_inside(path: str | None, module: str) -> bool:
    """Whether a module path is the module's or that of one inside it."""
    return path is not None and (path == module or path.startswith(f"{module}."))
