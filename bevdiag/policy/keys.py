"""The keys of a policy's file: what reads them, explains them and describes them as a schema."""

from dataclasses import dataclass
from typing import Any, Literal

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
