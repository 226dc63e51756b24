"""Whether data fits a JSON Schema, compiled once per schema.

Owns two checkers with one verdict: our own for flat schemas (an object, its required fields, a type or a set of texts
for each), and that of jsonschema-rs, an extra, for all others. Knows no event type and no version. Invariants: which one
is used depends on the schema alone, never on what is installed; data is judged in the form in which the log stores it;
nothing is fetched from anywhere.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import orjson

from aresbus.errors import EncodeError
from aresbus.events import plain_json
from aresbus.schema.normal_form import Document, json_type, normal_form

__all__ = ["Check", "compiled_check"]

Check: TypeAlias = Callable[[Any], list[str]]
"""From data to what is wrong with it, one sentence each; empty where it fits."""

EXACT: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
"""The Python types that a JSON type takes without a further look."""
MOST_TOLD = 20
"""Sentences about one piece of data; a list of a million wrong items needs no million sentences."""


def compiled_check(document: Document) -> Check:
    """The checker of a document.

    Raises ImportError where it needs jsonschema-rs and that is not installed, ValueError for what is no JSON Schema.
    """
    normal = normal_form(document)
    return _FlatCheck(normal) if _is_flat(normal) else _full_check(document)


def _is_flat(normal: Document) -> bool:
    if normal.get("type") != "object" or normal.keys() - {"type", "properties", "required"}:
        return False
    return all(_is_plain(one) for one in normal.get("properties", {}).values())


def _is_plain(rule: Document) -> bool:
    """Whether the rule of a field is a type, several, or a set of texts."""
    if rule.keys() == {"enum"}:
        return all(isinstance(value, str) for value in rule["enum"])
    return not rule or (rule.keys() == {"type"} and all(name in EXACT for name in _names(rule["type"])))


def _names(kind: str | list[str]) -> list[str]:
    return [kind] if isinstance(kind, str) else kind


class _FlatCheck:
    """Required fields, then the type of each field that is there. A class only for the speed of its call."""

    def __init__(self, normal: Document) -> None:
        properties: dict[str, Document] = normal.get("properties", {})
        self.required: tuple[str, ...] = tuple(normal.get("required", ()))
        self._types = [(name, _exact(rule), rule) for name, rule in properties.items() if "type" in rule]
        self._texts = [(name, frozenset(rule["enum"])) for name, rule in properties.items() if "enum" in rule]

    def __call__(self, data: Any) -> list[str]:
        if data.__class__ is not dict and not isinstance(data, Mapping):
            data = _stored_form(data)
            if not isinstance(data, Mapping):
                return [f"the data is a dict, got {type(data).__name__}"]
        problems: list[str] = []
        for name in self.required:
            if name not in data:
                problems.append(f"{name} is missing")  # noqa: PERF401 - nothing to build in the normal case
        for name, exact, rule in self._types:
            if name in data:
                value = data[name]
                kind = value.__class__
                # The difference is 0.0 for every number but NaN and the infinities, which are stored as null.
                if kind not in exact or (kind is float and value - value):
                    problems += _type_problems(name, value, _names(rule["type"]))
        for name, texts in self._texts:
            if name in data and (data[name].__class__ is not str or data[name] not in texts):
                problems += _text_problems(name, data[name], texts)
        return problems


def _exact(rule: Document) -> frozenset[type]:
    return frozenset(kind for name in _names(rule["type"]) for kind in EXACT[name])


def _type_problems(name: str, value: Any, names: list[str]) -> list[str]:
    """The second look: a subclass, a float without fraction, a time, an enum member may fit in its stored form."""
    kind = json_type(_stored_form(value))
    if kind in names or (kind == "integer" and "number" in names):
        return []
    return [f"{name} is {' or '.join(names)}, got {type(value).__name__}"]


def _text_problems(name: str, value: Any, texts: frozenset[str]) -> list[str]:
    stored = _stored_form(value)
    if isinstance(stored, str) and stored in texts:
        return []
    return [f"{name} is one of {', '.join(map(repr, sorted(texts)))}, got {value!r:.80}"]


def _stored_form(value: Any) -> Any:
    """As the log would give it back; what has no JSON form stays as it is, the encoder will say so."""
    try:
        return plain_json(value)
    except EncodeError:
        return value


def _full_check(document: Document) -> Check:
    try:
        import jsonschema_rs  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ImportError(
            "this JSON Schema says more than which fields there are and of which type: pip install aresbus[schema]"
        ) from error
    try:
        validator = jsonschema_rs.Draft202012Validator(document, retriever=_refuse)
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise ValueError(f"no JSON Schema of draft 2020-12: {error}") from error

    def check(data: Any) -> list[str]:
        try:
            orjson.dumps(
                data
            )  # half the price of the stored form, which few data need: a Decimal is stored as text
            if validator.is_valid(data):
                return []
        except (TypeError, ValueError):
            data = _stored_form(data)
        try:
            return _sentences(validator.iter_errors(data))
        except ValueError as error:
            return [f"the data has no JSON form: {error}"]

    return check


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} lies outside the document; put it into its $defs")


def _sentences(errors: Any) -> list[str]:
    found: list[str] = []
    for error in errors:
        if len(found) == MOST_TOLD:
            found.append("and more")
            break
        path = ".".join(map(str, error.instance_path))
        found.append(f"{path}: {error.message}" if path else str(error.message))
    return found
