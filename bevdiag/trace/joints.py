"""How the modules of a traced step are wired, ready for any renderer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """One value of the batch dict: who left it there, and who took it.

    Attributes:
        written_by: module path, "" for the detector itself, None for the loader.
        computed_by: the module whose code made the features, "" where autograd does not know.
        shape: of its first tensor; a sparse tensor's is that of its features [N, C].
        channels: C of that tensor.
        declared: C as the writer announces it to the next module, None where it does not.
        read_by: module paths, in order.
        is_read: whether anyone takes it, under this key or another that holds the same object.
        replaced_by: who writes the key next, None where the value stays to the end.
    """

    key: str
    written_by: str | None
    computed_by: str
    shape: tuple[int, ...] | None
    channels: int | None
    declared: int | None
    read_by: tuple[str, ...]
    is_read: bool
    replaced_by: str | None


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
class WiringReport:
    """The joints of the last step.

    Attributes:
        joints: every value of the batch dict, in the order of writing.
        bev_map: the bird's-eye-view map, None where no module makes one.
        bev_sources: the features that the map's module reads.
        dead_branches: what the loss does not reach.
    """

    joints: tuple[Joint, ...]
    bev_map: Joint | None
    bev_sources: tuple[Joint, ...]
    dead_branches: tuple[DeadBranch, ...]

    @property
    def misdeclared(self) -> tuple[Joint, ...]:
        """The joints whose writer announces other channels than it delivers."""
        return tuple(j for j in self.joints if j.declared not in (None, j.channels))

    @property
    def is_sound(self) -> bool:
        """Whether nothing is off."""
        return not self.dead_branches and not self.misdeclared
