"""A policy's decisions for one config, and the keys of the file that make them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from bevdiag.errors import Location


@dataclass(frozen=True, slots=True)
class Setting:
    """A value as the file says it, as text, and where."""

    text: str
    location: Location


@dataclass(frozen=True, slots=True)
class IgnoredRule:
    """A rule whose findings are silenced, why, and where that is said."""

    code: str
    reason: str
    location: Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is decided for one config; None leaves it to the command line and its defaults.

    Attributes:
        gpu, budget: the memory to judge by; where one is said anew, both are.
        margin: what must stay free of it, a share such as 10% or a size.
        torch, cudnn: the versions of the machine that will train.
        autocast, optimizer, batch_size: how it will train.
        assume: counts that depend on values, by site.
        ignore: rules whose findings are silenced.
    """

    gpu: Setting | None = None
    budget: Setting | None = None
    margin: Setting | None = None
    torch: Setting | None = None
    cudnn: Setting | None = None
    autocast: Setting | None = None
    optimizer: Setting | None = None
    batch_size: Setting | None = None
    assume: Mapping[str, Setting] = field(default_factory=dict)
    ignore: Mapping[str, IgnoredRule] = field(default_factory=dict)

    def overridden(self, other: "Policy") -> "Policy":
        """Return this policy with everything that `other` decides."""
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        if other.gpu is not None or other.budget is not None:
            values |= {"gpu": None, "budget": None}
        for name, mine in values.items():
            theirs = getattr(other, name)
            if isinstance(theirs, Mapping):
                values[name] = {**mine, **theirs}
            elif theirs is not None:
                values[name] = theirs
        return Policy(**values)


POLICY_SCHEMA = "policy/1"
FOR_CONFIGS = "config"
"""The tables for some configs, each with its `files`."""

Kind = Literal["text", "number", "table"]


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        name: as the file spells it.
        kind: of its value.
        meaning: one sentence.
        example: a value, as TOML; of a table, its entries.
    """

    name: str
    kind: Kind
    meaning: str
    example: str


KEYS = (
    Key("gpu", "text", "The GPU to judge by; bevdiag gpus lists them.", '"rtx4090"'),
    Key("budget", "text", "What the process may take in all, as nvidia-smi counts.", '"22GiB"'),
    Key("margin", "text", "What must stay free of it: a share or a size.", '"10%"'),
    Key("torch", "text", "The torch of the machine that trains, if another than here.", '"2.4.1"'),
    Key("cudnn", "text", "Its cuDNN, if another than that torch ships with.", '"9.1"'),
    Key("autocast", "text", "Mixed precision: off, fp16 or bf16.", '"fp16"'),
    Key("optimizer", "text", "Instead of the config's own.", '"adamw"'),
    Key("batch_size", "number", "Samples a step on one GPU.", "4"),
    Key(
        "ignore",
        "table",
        "Rules whose findings are silenced, each with its reason.",
        'BEV302 = "the high end is a frame that we filter out"',
    ),
    Key(
        "assume",
        "table",
        "Counts that depend on feature values, by the site that a report names.",
        '"backbone_3d.focal_encoder.kept_voxels" = 120_000',
    ),
)


def names(kind: Kind) -> tuple[str, ...]:
    """Return the keys whose values are of this kind."""
    return tuple(key.name for key in KEYS if key.kind == kind)


def policy_toml(gpu: str | None = None) -> str:
    """Write a file with every key explained and commented out, but for the GPU if one is named."""
    lines = [
        "# What this project has decided once, for every bevdiag command. The file nearest to a",
        "# config counts; options and the variables BEVDIAG_GPU, BEVDIAG_BUDGET, ... go before it.",
    ]
    for key in KEYS:
        lines += ["", f"# {key.meaning}"]
        if key.kind == "table":
            lines += [f"# [{key.name}]", f"# {key.example}"]
        elif key.name == "gpu" and gpu is not None:
            lines.append(f'gpu = "{gpu}"')
        else:
            lines.append(f"# {key.name} = {key.example}")
    lines += [
        "",
        "# For some configs: later tables override earlier ones.",
        f"# [[{FOR_CONFIGS}]]",
        '# files = "cfgs/big/*.yaml"',
        '# gpu = "h200"',
    ]
    return "\n".join(lines) + "\n"


def policy_schema() -> dict[str, Any]:
    """Return a JSON Schema of the file, as `json_schema` begins one."""
    own = {key.name: _described(key) for key in KEYS}
    text = {"type": "string"}
    files = {
        "description": "Patterns, as seen from the file's folder.",
        "anyOf": [text, {"type": "array", "items": text}],
    }
    for_configs = {
        "type": "object",
        "properties": {"files": files, **own},
        "required": ["files"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {
            **own,
            FOR_CONFIGS: {
                "description": "What holds for some configs; later tables override earlier ones.",
                "type": "array",
                "items": for_configs,
            },
        },
        "additionalProperties": False,
    }


def _described(key: Key) -> dict[str, Any]:
    if key.kind == "text":
        value: dict[str, Any] = {"type": "string"}
    elif key.kind == "number":
        value = {"type": "integer"}
    elif key.name == "ignore":
        reason = {"type": "string", "minLength": 1}
        value = {
            "type": "object",
            "patternProperties": {"^BEV[0-9]{3}$": reason},
            "additionalProperties": False,
        }
    else:
        value = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}
    return {"description": key.meaning, **value}
