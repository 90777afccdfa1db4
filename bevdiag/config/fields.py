"""The field types and base classes that the settings are made of.

Text is never taken for a number, nor a boolean for a size: the originals would stumble over it.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from bevdiag.config.grid import MAX_VOXELS

PositiveInt = Annotated[int, Field(strict=True, gt=0, lt=2**31)]
NonNegativeInt = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
AxisInt = Annotated[int, Field(strict=True, gt=0, le=MAX_VOXELS)]
"""For what lies along an axis of the grid, or is as many: a table is made of it."""
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]
Triple = tuple[PositiveInt, PositiveInt, PositiveInt]
WholeInt = Annotated[int, Field(strict=True, gt=-(2**31), lt=2**31)]
Shift = tuple[WholeInt, WholeInt, WholeInt]
Coordinate = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-(2**24), le=2**24)]
"""In metres or radians, as a float32, which further out cannot tell one from the next."""
Lengths = tuple[Coordinate, Coordinate, Coordinate]
Range = tuple[Coordinate, Coordinate, Coordinate, Coordinate, Coordinate, Coordinate]


class LowerCaseSettings(BaseModel):
    """Settings are immutable; keys bevdiag does not know are kept aside, not refused."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)


class Settings(LowerCaseSettings):
    """For sections whose keys are upper-case in the dialect, as most are."""

    model_config = ConfigDict(alias_generator=str.upper)


def blame(key: str, problem: str) -> PydanticCustomError:
    """Return the error of a check across fields.

    Args:
        key: the key to fix, below the section whose validator raises this.
        problem: what is wrong and what is expected.
    """
    return PydanticCustomError("blame", "{problem}", {"key": key, "problem": problem})
