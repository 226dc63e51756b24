"""Whether whoever knows one schema can read data written under another, and if not, because of which fields.

Owns the comparison of two schemas and the five rules by which a new one may follow older ones. Knows no event type, no
step and no log. Invariants: every breaking field is named, not the first; what cannot be proven harmless is breaking. One
assumption is made as everywhere: a field that a schema does not name is not in the data written under it.
"""

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias, get_args

from aresbus.schema.declared import Schema
from aresbus.schema.normal_form import Document, json_type

__all__ = ["Compatibility", "breaks", "checked_rule"]

Compatibility: TypeAlias = Literal["BACKWARD_TRANSITIVE", "BACKWARD", "FORWARD", "FULL", "NONE"]
"""Who must be able to read what:

* ``BACKWARD_TRANSITIVE``: the new schema reads data of every older one; replays of the whole past work.
* ``BACKWARD``: the new schema reads data of the one before it.
* ``FORWARD``: the schema before it reads data of the new one; consumers may be upgraded last.
* ``FULL``: both of the last two.
* ``NONE``: nothing is checked.
"""

RULES: tuple[Compatibility, ...] = get_args(Compatibility)
LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains")
UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains")
COMPARED = frozenset(
    ["type", "enum", "required", "properties", "additionalProperties", "items", "anyOf", "oneOf"]
).union(LOWER_BOUNDS, UPPER_BOUNDS)
NOTHING: Document = {"not": {}}
"""The normal form of the schema ``false``."""
ALL_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")


def checked_rule(compatibility: str) -> Compatibility:
    """The rule itself. Raises ValueError for any other text."""
    for rule in RULES:
        if rule == compatibility:
            return rule
    raise ValueError(f"compatibility: got {compatibility!r}, takes {', '.join(RULES)}")


def breaks(writer: Schema, reader: Schema) -> list[str]:
    """Why ``reader`` cannot be relied on to read what was written under ``writer``, a sentence per field.

    Each begins with the path of the field, like ``orders[].qty: …``. Empty where it can.
    """
    return list(dict.fromkeys(_breaks(writer.normal, reader.normal, "")))


def _breaks(writer: Document, reader: Document, path: str) -> Iterator[str]:
    if writer in (reader, NOTHING) or not reader:
        return
    if "anyOf" in writer or "oneOf" in writer or "anyOf" in reader or "oneOf" in reader:
        yield from _choice_breaks(writer, reader, path)
        return
    yield from _value_breaks(writer, reader, path)
    yield from _bound_breaks(writer, reader, path)
    yield from _field_breaks(writer, reader, path)
    if "items" in reader:
        yield from _breaks(writer.get("items", {}), reader["items"], f"{path}[]")
    for key in sorted(reader.keys() - COMPARED):
        if reader[key] != writer.get(key):
            yield f"{_at(path)}: {key} is new or has changed, which cannot be compared"


def _choice_breaks(writer: Document, reader: Document, path: str) -> Iterator[str]:
    """Each form that was written is read by one of the forms that are taken."""
    takes = _choices(reader)
    for written in _choices(writer):
        found = [list(_breaks(written, taken, path)) for taken in takes]
        if not found or all(found):
            if len(takes) == 1:
                yield from found[0]
            else:
                yield f"{_at(path)}: {_said(written)} was allowed and fits none of the {len(takes)} forms now"


def _choices(document: Document) -> list[Document]:
    for key in ("anyOf", "oneOf"):
        if key in document:
            rest = {name: value for name, value in document.items() if name != key}
            return [{**rest, **one} for one in document[key]]
    return [document]


def _value_breaks(writer: Document, reader: Document, path: str) -> Iterator[str]:
    """Types that are no longer taken, values that are no longer taken."""
    before, now = _types(writer), _types(reader)
    lost = [name for name in before if name not in now and not (name == "integer" and "number" in now)]
    if lost:
        was = "anything" if before == ALL_TYPES else " or ".join(before)
        yield f"{_at(path)}: was {was}, takes {' or '.join(now)} now"
    elif "enum" in reader:
        gone = [value for value in writer.get("enum", ()) if value not in reader["enum"]]
        if gone:
            yield f"{_at(path)}: {', '.join(map(repr, gone))} was allowed, and is no longer"
        elif "enum" not in writer:
            yield f"{_at(path)}: was any {_said(writer)}, takes {', '.join(map(repr, reader['enum']))} now"


def _types(document: Document) -> tuple[str, ...]:
    if "enum" in document:
        return tuple(dict.fromkeys(map(json_type, document["enum"])))
    kind = document.get("type", ALL_TYPES)
    return (kind,) if isinstance(kind, str) else tuple(kind)


def _bound_breaks(writer: Document, reader: Document, path: str) -> Iterator[str]:
    for key, is_lower in [*((one, True) for one in LOWER_BOUNDS), *((one, False) for one in UPPER_BOUNDS)]:
        if key not in reader:
            continue
        before, now = writer.get(key), reader[key]
        if before is None or (now > before if is_lower else now < before):
            yield f"{_at(path)}: {key} is {now} now, and was {'not set' if before is None else before}"


def _field_breaks(writer: Document, reader: Document, path: str) -> Iterator[str]:
    written, taken = writer.get("properties", {}), reader.get("properties", {})
    rest = reader.get("additionalProperties", {})
    for name in reader.get("required", ()):
        if name not in writer.get("required", ()):
            yield f"{_below(path, name)}: is required now, and was {'optional' if name in written else 'not there'}"
    for name, before in written.items():
        if name in taken:
            yield from _breaks(before, taken[name], _below(path, name))
        elif rest == NOTHING:
            yield f"{_below(path, name)}: was there, and is not allowed now"
        else:
            yield from _breaks(before, rest, _below(path, name))
    if "additionalProperties" in reader and "additionalProperties" in writer:
        yield from _breaks(writer["additionalProperties"], rest, f"{_at(path)}.*")


def _said(document: Document) -> str:
    if "enum" in document:
        return ", ".join(map(repr, document["enum"]))
    kinds = _types(document)
    return "value" if kinds == ALL_TYPES else " or ".join(kinds)


def _below(path: str, name: Any) -> str:
    return f"{path}.{name}" if path else str(name)


def _at(path: str) -> str:
    return path or "the data"
