"""The document of predictions beside measured steps: `bevdiag validate`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class MachineDocument:
    """What rows were measured on."""

    gpu: str
    torch: str
    cudnn: str


@dataclass(frozen=True, kw_only=True)
class RowDocument:
    """A measured step beside its prediction; errors are shares of the measured figure."""

    name: str
    batch_size: int
    autocast: str
    measured_allocated_bytes: int
    measured_reserved_bytes: int
    measured_first_step_bytes: int | None
    measured_params: int
    allocated_bytes: int | None
    low_bytes: int | None
    high_bytes: int | None
    reserved_bytes: int | None
    params: int | None
    allocated_error: float | None
    reserved_error: float | None
    first_step_bytes: int | None
    first_step_error: float | None
    covered: bool | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class ValidateDocument:
    """`bevdiag validate`."""

    schema: Literal["bevdiag.validate/1"] = "bevdiag.validate/1"
    machine: MachineDocument
    median_error: float | None
    max_error: float | None
    max_reserved_error: float | None
    max_first_step_error: float | None
    max_unsettled_error: float | None
    misses: tuple[str, ...]
    num_covered: int
    rows: tuple[RowDocument, ...]
