"""A baseline's file: what was recorded of every config, and under which conditions."""

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from bevdiag.errors import InputError

SCHEMA: Literal["bevdiag.baseline/1"] = "bevdiag.baseline/1"
MAX_BYTES = 2**24


class Entry(BaseModel):
    """What is recorded of one config; sizes in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    conditions: dict[str, str]
    params: NonNegativeInt
    peak_allocated_bytes: NonNegativeInt
    high_reserved_bytes: NonNegativeInt
    kept_for_backward_bytes: dict[str, NonNegativeInt]


class Baseline(BaseModel):
    """Every recorded config, by its path as seen from the file's folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal["bevdiag.baseline/1"] = Field(default=SCHEMA, alias="schema")
    configs: dict[str, Entry]

    def text(self) -> str:
        """The file's text; the same state gives the same bytes."""
        document = {
            "schema": self.schema_,
            "configs": {name: entry.model_dump() for name, entry in sorted(self.configs.items())},
        }
        return json.dumps(document, indent=2, sort_keys=False) + "\n"


def read_baseline(file: Path) -> Baseline:
    """A recorded state.

    Raises:
        InputError: the file cannot be read or is no baseline.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    remedy = "record it with: bevdiag baseline write"
    if len(data) > MAX_BYTES:
        raise InputError(f"{file} is larger than {MAX_BYTES} bytes; {remedy}")
    try:
        document = json.loads(data)
        configs = document["configs"]
        return Baseline(schema=document["schema"], configs=configs)
    except (ValueError, TypeError, KeyError, RecursionError, ValidationError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{file} is no baseline ({what}); {remedy}") from error
