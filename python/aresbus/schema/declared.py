"""What is declared of one event type in one version: a JSON Schema, wherever it came from.

Owns the value `Schema`, and the two older faces of the same thing: the rules of ``version_mappings`` (names of fields) and
their registered form, which carries the schema along. Knows no event type and no version. Invariants: a schema is plain
JSON and its own copy; two schemas are the same if they accept the same data as far as can be told from the text.
"""

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any, TypeAlias, TypeGuard

import orjson

from aresbus._typing import override
from aresbus.schema.checking import Check, compiled_check
from aresbus.schema.normal_form import Document, canonical, normal_form

__all__ = ["FieldRules", "RegisteredRules", "Schema"]

FieldRules: TypeAlias = dict[str, list[str]]
"""``{"required_fields": [...], "optional_fields": [...]}``."""
REQUIRED, OPTIONAL = "required_fields", "optional_fields"
FROM_RULES, FROM_DOCUMENT = "field rules", "JSON Schema"


class Schema:
    """A JSON Schema (draft 2020-12) and where it came from. Immutable; equality by meaning, not by the text."""

    def __init__(self, document: Mapping[str, Any], origin: str = FROM_DOCUMENT) -> None:
        """Take a copy of the document. Raises TypeError or ValueError for what is no JSON Schema."""
        try:
            self._document: Document = orjson.loads(orjson.dumps(document))
        except TypeError as error:
            raise TypeError(f"a schema is plain JSON: {error}") from error
        self.origin: str = origin
        self.normal: Document = normal_form(self._document)
        """The document without notes, its references resolved: what compatibility is judged by. Not to be changed."""
        if not all(isinstance(name, str) for name in self.normal.get("required", ())):
            raise TypeError("in a JSON Schema required is a list of field names")

    @classmethod
    def of(cls, given: Any) -> "Schema":
        """From field rules, a JSON Schema, or a class: dataclass, TypedDict, msgspec.Struct or pydantic model.

        Raises TypeError where a field has a type without JSON form, and for anything else.
        """
        if isinstance(given, Schema):
            return given
        if isinstance(given, Mapping):
            return cls.of_rules(given) if _is_rules(given) else cls(given)
        if isinstance(given, type):
            # Most programs derive no schema; this spares them the import.
            from aresbus.schema.derived import document_of  # noqa: PLC0415

            kind, document = document_of(given)
            return cls(document, f"{kind} {given.__module__}.{given.__qualname__}")
        raise TypeError(
            "a schema is a dict (field rules, or a JSON Schema), a dataclass, a TypedDict, a msgspec.Struct or a "
            f"pydantic model, not {type(given).__name__}"
        )

    @classmethod
    def of_rules(cls, rules: Mapping[str, Any]) -> "Schema":
        """From field rules; a field's value may be anything. Raises TypeError for what is no field rules."""
        if not isinstance(rules, Mapping):
            raise TypeError(f"field rules are a dict, not {type(rules).__name__}")
        required, optional = (_names(rules, key) for key in (REQUIRED, OPTIONAL))
        fields: Document = {name: {} for name in [*required, *optional]}
        return cls({"type": "object", "properties": fields, "required": required}, FROM_RULES)

    @property
    def document(self) -> Document:
        """A copy of the JSON Schema, as it was given."""
        copied: Document = orjson.loads(orjson.dumps(self._document))
        return copied

    @property
    def rules(self) -> FieldRules:
        """The names of the fields, as new field rules: in the order of the document."""
        required = self.normal.get("required", [])
        fields = list(dict.fromkeys([*self.normal.get("properties", {}), *required]))
        return {
            REQUIRED: [name for name in fields if name in required],
            OPTIONAL: [name for name in fields if name not in required],
        }

    @cached_property
    def check(self) -> Check:
        """The compiled check. Raises ImportError where it needs an extra, ValueError for what is no JSON Schema."""
        return compiled_check(self._document)

    def problems(self, data: Any) -> list[str]:
        """What is wrong with the data, one sentence each; empty where it fits."""
        return self.check(data)

    @override
    def __eq__(self, other: object) -> bool:
        """Whether both accept the same data; titles, order and origin do not count."""
        return isinstance(other, Schema) and canonical(self._document) == canonical(other._document)

    @override
    def __hash__(self) -> int:
        return hash(canonical(self._document))

    @override
    def __repr__(self) -> str:
        """Like ``<Schema of dataclass bot.Trade: symbol, price, [note]>``."""
        rules = self.rules
        names = [*rules[REQUIRED], *(f"[{name}]" for name in rules[OPTIONAL])]
        return f"<Schema of {self.origin}: {', '.join(names) or 'anything'}>"


class RegisteredRules(dict[str, list[str]]):
    """Field rules in ``version_mappings`` that carry the schema they were made from, which is what counts.

    The lists are there to be read. Another dict in the place of this one counts; editing its lists does not.
    """

    def __init__(self, schema: Schema) -> None:
        super().__init__(schema.rules)
        self.schema: Schema = schema
        self.check: Check = schema.check


def schema_of_rules(rules: Mapping[str, Any]) -> Schema:
    """The schema behind an entry of ``version_mappings``, whoever made it, as it stands now."""
    return rules.schema if isinstance(rules, RegisteredRules) else Schema.of_rules(rules)


def _is_rules(given: Mapping[str, Any]) -> TypeGuard[Mapping[str, list[str]]]:
    return bool(given) and given.keys() <= {REQUIRED, OPTIONAL}


def _names(rules: Mapping[str, Any], key: str) -> list[str]:
    names = rules.get(key, ())
    is_list = isinstance(names, Collection) and not isinstance(names, str)
    if not is_list or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{key} is a list of field names, not {names!r:.80}")
    return list(names)
