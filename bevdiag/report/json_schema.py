"""JSON Schemas of the documents that the commands write.

Keys may be added within a version, never taken away or given a new meaning; so a schema allows
what it does not know.
"""

from collections.abc import Mapping
from dataclasses import field, is_dataclass, make_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from packaging.version import Version
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.baseline import Baseline
from bevdiag.report.as_json import DOCUMENTS, WHERE_SAID, dumps, schema_of, written

_DESCRIBED: Mapping[str, type] = {
    **{name: kind for kind, name in DOCUMENTS.items()},
    "baseline/1": Baseline,
}
SCHEMAS = tuple(_DESCRIBED)


def json_schema(name: str, described: type | dict[str, Any] | None = None) -> str:
    """Write a document's schema as JSON and a newline.

    Args:
        name: its name and version.
        described: what describes the document, or its schema; None for one of `SCHEMAS`.

    Raises:
        KeyError: there is none of that name.
    """
    kind = described or _as_written(_DESCRIBED[name])
    schema = (
        kind
        if isinstance(kind, dict)
        else TypeAdapter(kind).json_schema(mode="serialization", schema_generator=_Generator)
    )
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"bevdiag.{name}"}
    return dumps(head | {key: value for key, value in schema.items() if key != "title"})


def _as_written(hint: Any) -> Any:
    """Return an annotation, with classes that have just the keys which documents have."""
    if hint is Version:
        return str
    if is_dataclass(hint) or hasattr(hint, "_fields"):
        return _class_as_written(hint)
    origin, parts = get_origin(hint), get_args(hint)
    if origin is None or origin is Literal:
        return hint
    inside = tuple(_as_written(part) for part in parts)
    return (Union if origin is UnionType else origin)[inside]


@cache
def _class_as_written(kind: type) -> type:
    schema = schema_of(kind)
    head = [] if schema is None else [("schema", Literal[f"bevdiag.{schema}"])]
    optional = WHERE_SAID.get(kind, ())
    keys = [
        (key, _as_written(_hint_of(kind, attribute)), field(default=None))
        if key in optional
        else (key, _as_written(_hint_of(kind, attribute)))
        for key, attribute in written(kind)
    ]
    return make_dataclass(kind.__name__, [*head, *keys], namespace={"__doc__": kind.__doc__})


def _hint_of(kind: type, attribute: str) -> Any:
    """Return the annotation of a field or a property."""
    hint: Any = kind
    for name in attribute.rstrip("?").split("."):
        member = getattr(hint, name, None)
        hint = (
            get_type_hints(member.fget)["return"]
            if isinstance(member, property)
            else get_type_hints(hint)[name]
        )
    return hint | None if attribute.endswith("?") else hint


class _Generator(GenerateJsonSchema):
    """A dataclass's fields are all written; a verdict is null where there was no budget."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])

    def field_is_required(self, field: Any, total: bool) -> bool:
        if field["type"] != "dataclass-field":
            return super().field_is_required(field, total)
        return field["schema"]["type"] != "default" or field["schema"]["default"] is not None

    def enum_schema(self, schema: core_schema.EnumSchema) -> dict[str, Any]:
        document = super().enum_schema(schema)
        if schema["cls"] is Verdict:
            words = [word.value for word in Verdict if word is not Verdict.NO_BUDGET]
            return document | {"type": ["string", "null"], "enum": [*words, None]}
        return document
