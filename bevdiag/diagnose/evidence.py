"""What a rule may look at."""

from dataclasses import dataclass

from bevdiag.config import DetectorConfig
from bevdiag.diagnose.bev import BevJoint
from bevdiag.diagnose.result import Remedy, Verdict
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.profile import MemoryProfile
from bevdiag.models.channels import ChannelMismatch
from bevdiag.scenes import Batch
from bevdiag.trace.kept_voxels import KeptVoxels
from bevdiag.trace.step import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One inspected config.

    Attributes:
        trace: the step with the expected counts; `profile` is its memory without a limit.
        high: the memory of the upper end.
        mismatch: the channels that did not fit, if any; the trace is then of the mended config.
    """

    config: DetectorConfig
    optimizer: str
    batch: Batch
    target: DeviceTarget
    joint: BevJoint
    trace: Trace
    profile: MemoryProfile
    high: MemoryProfile
    kept_voxels: tuple[KeptVoxels, ...]
    verdict: Verdict
    mismatch: ChannelMismatch | None = None
    remedies: tuple[Remedy, ...] = ()
