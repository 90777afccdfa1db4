"""A baseline's file: what was recorded of every config, and under which conditions."""

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from bevdiag.errors import InputError
from bevdiag.files.bounds import check_json
from bevdiag.files.reading import read_file

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
    remedy = "record it with: bevdiag baseline write"
    data = read_file(file, MAX_BYTES, instead=remedy)
    try:
        check_json(data)
        document = json.loads(data)
        configs = document["configs"]
        return Baseline(schema=document["schema"], configs=configs)
    except (InputError, ValueError, TypeError, KeyError, RecursionError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{file} is no baseline ({what}); {remedy}") from error
