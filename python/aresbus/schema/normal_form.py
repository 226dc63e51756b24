"""The meaning of a JSON Schema document, apart from how it is written.

Owns the normal form: local references resolved, titles and other notes left out, lists without order sorted. Knows no
event type. Invariants: documents of equal normal form accept the same data; a document is never changed in place; a
reference that leads back to itself stays a reference, so the normal form is finite, and its size is bounded.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import orjson

__all__ = ["Document", "canonical", "json_type", "normal_form"]

Document: TypeAlias = dict[str, Any]
"""A JSON Schema as a dict. In normal form ``true`` and ``false`` are ``{}`` and ``{"not": {}}``."""

NOTES = frozenset(
    [
        "$schema",
        "$id",
        "$comment",
        "$anchor",
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "format",
        "contentEncoding",
        "contentMediaType",
        "discriminator",
        "definitions",
        "$defs",
    ]
)
"""What says nothing about which data fits. ``format`` is a note in draft 2020-12 unless a validator is told otherwise."""
ONE_SCHEMA = frozenset(
    ["items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"]
)
SCHEMA_LISTS = frozenset(["anyOf", "oneOf", "allOf", "prefixItems"])
SCHEMA_MAPS = frozenset(["properties", "patternProperties", "dependentSchemas"])
DEFINITIONS = ("$defs", "definitions")
MOST_PARTS = 20_000
"""Parts of a document once its references are resolved: definitions that name each other twice double with each step."""


def normal_form(document: Mapping[str, Any]) -> Document:
    """The document in normal form, a new dict.

    Raises TypeError where something that must be a schema is none, ValueError for a document without end.
    """
    return _Writer(document).schema(document, ())


def canonical(document: Mapping[str, Any]) -> bytes:
    """The normal form as bytes: equal for documents of one meaning, whatever their order and notes."""
    return orjson.dumps(normal_form(document), option=orjson.OPT_SORT_KEYS)


def json_type(value: Any) -> str:
    """The narrowest JSON Schema type of a plain JSON value; a float without fraction is an integer."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


class _Writer:
    """Writes one document's normal form and counts its parts."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._count = 0

    def schema(self, value: Any, within: tuple[str, ...]) -> Document:
        """``within``: the references being resolved around this place, so that a cycle is seen."""
        self._count += 1
        if self._count > MOST_PARTS:
            raise ValueError(f"a JSON Schema has at most {MOST_PARTS} parts with its references resolved")
        if isinstance(value, bool):
            return {} if value else {"not": {}}
        if not isinstance(value, Mapping):
            raise TypeError(f"a JSON Schema is a dict or a truth value, not {type(value).__name__}")
        reference: Any = value.get("$ref")
        target = self._target(reference)
        if target is not None and reference not in within:
            beside = {key: one for key, one in value.items() if key != "$ref"}
            found = self.schema(target, (*within, reference))
            own = self.schema(beside, within)
            return {"allOf": [found, own]} if found.keys() & own.keys() else {**found, **own}
        return _tidy({key: self._part(key, one, within) for key, one in value.items() if key not in NOTES})

    def _part(self, key: str, one: Any, within: tuple[str, ...]) -> Any:
        if key in ONE_SCHEMA:
            return self.schema(one, within)
        if key in SCHEMA_LISTS:
            return [self.schema(each, within) for each in _of(key, one, list)]
        if key in SCHEMA_MAPS:
            return {name: self.schema(each, within) for name, each in _of(key, one, dict).items()}
        if key in ("required", "enum"):
            return _without_order(_of(key, one, list))
        return _without_order(one) if key == "type" and isinstance(one, list) else one

    def _target(self, reference: Any) -> Any:
        """What a reference into this document's definitions names; None for any other."""
        if not isinstance(reference, str):
            return None
        if reference == "#":
            return self._root
        folder, _, name = reference.removeprefix("#/").partition("/")
        definitions = self._root.get(folder) if folder in DEFINITIONS else None
        if not isinstance(definitions, Mapping):
            return None
        return definitions.get(name.replace("~1", "/").replace("~0", "~"))


def _of(key: str, one: Any, kind: type) -> Any:
    if not isinstance(one, kind):
        raise TypeError(f"in a JSON Schema {key} is a {kind.__name__}, not {type(one).__name__}")
    return one


def _without_order(values: list[Any]) -> list[Any]:
    texts = {orjson.dumps(value): value for value in values}
    return [texts[text] for text in sorted(texts)]


def _tidy(out: Document) -> Document:
    """Without what accepts everything, and with one way to write each thing that has several."""
    for key in ("items", "additionalProperties", "required", "properties"):
        if key in out and not out[key]:
            del out[key]
    if "const" in out and "enum" not in out:
        out["enum"] = [out.pop("const")]
    choice = out.get("anyOf")
    if choice and "type" not in out and all(set(one) == {"type"} for one in choice):
        out["type"] = sorted({name for one in choice for name in _names(one["type"])})
        del out["anyOf"]
    if "type" in out:
        names = _names(out["type"])
        if "enum" in out and all(_is_one_of(value, names) for value in out["enum"]):
            del out["type"]
        elif len(names) == 1:
            out["type"] = names[0]
    return out


def _names(kind: Any) -> list[str]:
    return list(kind) if isinstance(kind, list) else [kind]


def _is_one_of(value: Any, names: list[str]) -> bool:
    kind = json_type(value)
    return kind in names or (kind == "integer" and "number" in names)
