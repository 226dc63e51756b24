"""From a class that a user has to the JSON Schema of its events: dataclass, TypedDict, msgspec.Struct, pydantic model.

Owns what each annotation means in JSON, as orjson writes it. Knows no event. Invariants: a field with a default is
optional; what orjson would not write is refused by name, never guessed; msgspec and pydantic are used only where the
user's class comes from them.
"""

import dataclasses
import datetime as dt
import enum
import sys
import types
import typing
import uuid
from collections import abc
from typing import Any

from aresbus.schema.normal_form import Document

__all__ = ["document_of"]

SCALARS: dict[Any, Document] = {
    Any: {},
    object: {},
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    None: {"type": "null"},
    dt.datetime: {"type": "string", "format": "date-time"},
    dt.date: {"type": "string", "format": "date"},
    dt.time: {"type": "string", "format": "time"},
    uuid.UUID: {"type": "string", "format": "uuid"},
}
LISTS = (list, tuple, abc.Sequence, abc.Collection, abc.Iterable)
MAPS = (dict, abc.Mapping, abc.MutableMapping)


def document_of(kind: type) -> tuple[str, Document]:
    """What kind of class it is, and its JSON Schema.

    Raises TypeError for a class of no known kind, and for a field whose type has no JSON form, by its path.
    """
    if dataclasses.is_dataclass(kind):
        return "dataclass", _object(kind, (), kind.__name__)
    if typing.is_typeddict(kind):
        return "TypedDict", _object(kind, (), kind.__name__)
    if _is_from("msgspec", "Struct", kind):
        import msgspec  # noqa: PLC0415 - the user has it, or there would be no such class

        return "msgspec.Struct", dict(msgspec.json.schema(kind))
    if _is_from("pydantic", "BaseModel", kind):
        model: Any = kind
        # As model_dump() and model_dump_json() name the fields, unless the model says otherwise.
        by_alias = bool(model.model_config.get("serialize_by_alias", False))
        return "pydantic model", dict(model.model_json_schema(by_alias=by_alias))
    raise TypeError(
        f"{kind.__qualname__} is no dataclass, TypedDict, msgspec.Struct or pydantic model; "
        "give its JSON Schema as a dict"
    )


def _is_from(module: str, name: str, kind: type) -> bool:
    """Whether the class derives from ``module.name``; a module that nobody imported has no classes."""
    base = getattr(sys.modules.get(module), name, None)
    return isinstance(base, type) and issubclass(kind, base)


def _object(kind: Any, within: tuple[Any, ...], path: str) -> Document:
    if kind in within:
        raise TypeError(f"{path}: {kind.__qualname__} contains itself; give its JSON Schema, with $defs")
    fields = _dataclass_fields(kind) if dataclasses.is_dataclass(kind) else _keys(kind)
    properties = {
        name: _document(hint, (*within, kind), f"{path}.{name}") for name, (hint, _) in fields.items()
    }
    required = [name for name, (_, is_required) in fields.items() if is_required]
    return {"type": "object", "properties": properties, "required": required}


def _dataclass_fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Annotation and whether it is required, of each field that orjson writes."""
    hints = typing.get_type_hints(kind)
    missing = dataclasses.MISSING
    return {
        one.name: (hints[one.name], one.default is missing and one.default_factory is missing)
        for one in dataclasses.fields(kind)
        if not one.name.startswith("_")
    }


def _keys(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Annotation and whether it is required, of each key of a TypedDict.

    Under ``from __future__ import annotations`` the class itself does not know what stands in NotRequired.
    """
    marked, plain = typing.get_type_hints(kind, include_extras=True), typing.get_type_hints(kind)
    found = {}
    for name, hint in plain.items():
        mark = typing.get_origin(marked[name])
        is_optional = mark is typing.NotRequired or name not in kind.__required_keys__
        found[name] = (hint, mark is typing.Required or not is_optional)
    return found


def _document(hint: Any, within: tuple[Any, ...], path: str) -> Document:
    if isinstance(hint, typing.NewType):
        return _document(hint.__supertype__, within, path)
    if type(hint).__name__ == "TypeAliasType":  # of Python 3.12: type Price = float
        return _document(hint.__value__, within, path)
    if isinstance(hint, abc.Hashable) and hint in SCALARS:
        return dict(SCALARS[hint])
    return _composed(hint, within, path)


def _composed(hint: Any, within: tuple[Any, ...], path: str) -> Document:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    base = origin or hint
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_document(one, within, path) for one in arguments]}
    if origin is typing.Literal:
        return {"enum": [_plain(value, path) for value in arguments]}
    if base in LISTS:
        return _list(base, arguments, within, path)
    if base in MAPS:
        return _map(arguments, within, path)
    if isinstance(base, type):
        return _of_class(base, within, path)
    raise TypeError(f"{path}: {hint!r} has no JSON form that is known here; give the JSON Schema as a dict")


def _list(base: Any, arguments: tuple[Any, ...], within: tuple[Any, ...], path: str) -> Document:
    if base is tuple and arguments and arguments[-1] is not Ellipsis:
        items = [_document(one, within, f"{path}[{at}]") for at, one in enumerate(arguments)]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    return {"type": "array", **({"items": _document(arguments[0], within, f"{path}[]")} if arguments else {})}


def _map(arguments: tuple[Any, ...], within: tuple[Any, ...], path: str) -> Document:
    if not arguments:
        return {"type": "object"}
    key, value = arguments
    if _document(key, within, f"{path} (key)").get("type", "string") != "string":
        raise TypeError(f"{path}: keys are text in JSON, not {key!r}")
    return {"type": "object", "additionalProperties": _document(value, within, f"{path}.*")}


def _of_class(base: type, within: tuple[Any, ...], path: str) -> Document:
    if dataclasses.is_dataclass(base) or typing.is_typeddict(base):
        return _object(base, within, path)
    if issubclass(base, enum.Enum):
        return {"enum": [_plain(member, path) for member in base]}
    # By name: the decimal module costs 2 ms of start-up for those who never use it.
    if base.__module__ == "decimal" and base.__name__ == "Decimal":
        return {"type": "string"}
    for scalar in (int, str):
        if issubclass(base, scalar):
            return dict(SCALARS[scalar])
    raise TypeError(
        f"{path}: {base.__qualname__} has no JSON form that is known here; give the JSON Schema as a dict"
    )


def _plain(value: Any, path: str) -> Any:
    plain = value.value if isinstance(value, enum.Enum) else value
    if plain is None or isinstance(plain, str | int | float):
        return plain
    raise TypeError(f"{path}: {value!r} has no JSON form")
