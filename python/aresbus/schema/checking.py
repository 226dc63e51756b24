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
        return bool(rule["enum"]) and all(isinstance(value, str) for value in rule["enum"])
    return not rule or (rule.keys() == {"type"} and all(name in EXACT for name in _names(rule["type"])))


def _names(kind: str | list[str]) -> list[str]:
    return [kind] if isinstance(kind, str) else kind


class _FlatCheck:
    """First one look that passes what plainly fits, then, only where it does not, one that finds the words."""

    def __init__(self, normal: Document) -> None:
        properties: dict[str, Document] = normal.get("properties", {})
        required: list[str] = normal.get("required", [])
        self._required = [name for name in dict.fromkeys([*properties, *required]) if name in required]
        self._rules = [(name, rule) for name, rule in properties.items() if rule]
        looks = [(name, _exact(rule), _texts(rule)) for name, rule in self._rules]
        self._needed = [look for look in looks if look[0] in self._required]
        self._optional = [look for look in looks if look[0] not in self._required]
        self._untyped = [name for name in self._required if not properties.get(name)]

    def __call__(self, data: Any) -> list[str]:
        """What is wrong with the data."""
        if type(data) is not dict:
            return self._told(data)
        looks = self._needed
        if self._optional:
            looks = [*looks, *(look for look in self._optional if look[0] in data)]
        try:
            for name, types, texts in looks:
                value = data[name]
                kind = type(value)
                # The difference is 0.0 for every number but NaN and the infinities, which are stored as null.
                if kind not in types or (kind is float and value - value) or (texts and value not in texts):
                    return self._told(data)
        except KeyError:
            return self._told(data)
        for name in self._untyped:
            if name not in data:
                return self._told(data)
        return []

    def _told(self, data: Any) -> list[str]:
        """The second look: a subclass, a float without fraction, a time, an enum member may fit as they are stored."""
        if not isinstance(data, Mapping):
            data = _stored_form(data)
            if not isinstance(data, Mapping):
                return [f"the data is a dict, got {type(data).__name__}"]
        problems = [f"{name} is missing" for name in self._required if name not in data]
        for name, rule in self._rules:
            if name in data:
                find = _text_problems if "enum" in rule else _type_problems
                problems += find(name, data[name], rule)
        return problems


def _exact(rule: Document) -> frozenset[type]:
    names = _names(rule["type"]) if "type" in rule else ["string"]
    return frozenset(kind for name in names for kind in EXACT[name])


def _texts(rule: Document) -> frozenset[str]:
    """The texts that the field may be; empty where any will do."""
    return frozenset(rule.get("enum", ()))


def _type_problems(name: str, value: Any, rule: Document) -> list[str]:
    names = _names(rule["type"])
    kind = json_type(_stored_form(value))
    if kind in names or (kind == "integer" and "number" in names):
        return []
    return [f"{name} is {' or '.join(names)}, got {type(value).__name__}"]


def _text_problems(name: str, value: Any, rule: Document) -> list[str]:
    if _stored_form(value) in rule["enum"]:
        return []
    return [f"{name} is one of {', '.join(map(repr, rule['enum']))}, got {value!r:.80}"]


def _stored_form(value: Any) -> Any:
    """As the log would give it back; bytes, and what the encoder will refuse, stay as they are."""
    if isinstance(value, bytes | bytearray | memoryview):
        return value
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
