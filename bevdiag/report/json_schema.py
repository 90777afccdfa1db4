"""JSON Schemas of the documents that the commands write.

Keys may be added within a version, never taken away or given a new meaning; so a schema allows
what it does not know.
"""

from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.recorded import Baseline
from bevdiag.report.canonical_json import dumps
from bevdiag.report.documents.configs import CompareDocument, PreflightDocument
from bevdiag.report.documents.failures import DoctorDocument, ExplainDocument
from bevdiag.report.documents.inspect import FindingsDocument, InspectDocument
from bevdiag.report.documents.remedies import FitDocument, FixDocument
from bevdiag.report.documents.validation import ValidateDocument

_DOCUMENTS = {
    "inspect/2": InspectDocument,
    "findings/1": FindingsDocument,
    "preflight/2": PreflightDocument,
    "compare/1": CompareDocument,
    "fix/1": FixDocument,
    "fit/1": FitDocument,
    "doctor/1": DoctorDocument,
    "explain/1": ExplainDocument,
    "validate/1": ValidateDocument,
    "baseline/1": Baseline,
}
SCHEMAS = tuple(_DOCUMENTS)

_LEFT_OUT = ("command", "stops", "offered_edits")
"""The keys that a document lacks where there is nothing to say."""


def json_schema(name: str, described: type | None = None) -> str:
    """A document's schema as JSON and a newline.

    Args:
        name: its name and version.
        described: what describes the document; None for one of `SCHEMAS`.

    Raises:
        KeyError: there is none of that name.
    """
    described = described or _DOCUMENTS[name]
    schema = TypeAdapter(described).json_schema(mode="serialization", schema_generator=_Generator)
    return with_head(name, schema)


def with_head(name: str, schema: dict[str, Any]) -> str:
    """A schema as JSON and a newline, under the document's name and version."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"bevdiag.{name}"}
    return dumps(head | {key: value for key, value in schema.items() if key != "title"})


class _Generator(GenerateJsonSchema):
    """A dataclass's fields are all written; a verdict is null where there was no budget."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])

    def field_is_required(self, field: Any, total: bool) -> bool:
        if field["type"] != "dataclass-field":
            return super().field_is_required(field, total)
        return bool(field["name"] not in _LEFT_OUT)

    def enum_schema(self, schema: core_schema.EnumSchema) -> dict[str, Any]:
        document = super().enum_schema(schema)
        if schema["cls"] is Verdict:
            words = [word.value for word in Verdict if word is not Verdict.NO_BUDGET]
            return document | {"type": ["string", "null"], "enum": [*words, None]}
        return document
