"""Does data fit: two checkers with one verdict, judged as the log stores it, with and without the extra."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import subprocess
import sys
import types
import uuid

import jsonschema_rs
import pytest
from aresbus import EventVersionManager, Schema
from hypothesis import given, settings, strategies as st

FLAT = {
    "type": "object",
    "properties": {
        "symbol": {"type": "string"},
        "side": {"enum": ["buy", "sell"]},
        "price": {"type": "number"},
        "size": {"type": ["integer", "null"]},
        "note": {},
    },
    "required": ["symbol", "price"],
}
GOOD = {"symbol": "X", "side": "buy", "price": 1.5, "size": None}
NESTED = {"type": "object", "properties": {"legs": {"type": "array", "items": FLAT}}, "required": ["legs"]}


class Side(enum.Enum):
    BUY = "buy"


class Text(str):
    __slots__ = ()


@dataclasses.dataclass
class Whole:
    symbol: str
    price: float


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        ({}, []),
        ({"price": 1}, []),
        ({"price": True}, ["price is number, got bool"]),
        ({"price": "1"}, ["price is number, got str"]),
        ({"size": 2.0}, []),
        ({"size": 2.5}, ["size is integer or null, got float"]),
        ({"side": "hold"}, ["side is one of 'buy', 'sell', got 'hold'"]),
        ({"side": ["buy"]}, ["side is one of 'buy', 'sell', got ['buy']"]),
        ({"side": Side.BUY}, []),
        ({"symbol": Text("X")}, []),
        ({"symbol": dt.datetime(2024, 1, 1, tzinfo=dt.UTC)}, []),
        ({"symbol": uuid.UUID(int=1)}, []),
        ({"symbol": None}, ["symbol is string, got NoneType"]),
        ({"price": decimal.Decimal(1)}, ["price is number, got Decimal"]),
        ({"symbol": decimal.Decimal(1)}, []),
        ({"price": float("nan")}, ["price is number, got float"]),
        ({"price": float("inf")}, ["price is number, got float"]),
        ({"note": object(), "unknown": 1}, []),
    ],
)
def test_data_is_judged_as_it_is_stored(change, problems):
    data = GOOD | change
    assert Schema(FLAT).problems(data) == problems
    nested = Schema(NESTED).problems({"legs": [data]})
    if "note" not in change:
        assert bool(nested) is bool(problems), nested


@pytest.mark.parametrize(
    ("data", "problems"),
    [
        ({"price": 1}, ["symbol is missing"]),
        ({}, ["symbol is missing", "price is missing"]),
        ([1], ["the data is a dict, got list"]),
        (None, ["the data is a dict, got NoneType"]),
        (b"raw", ["the data is a dict, got bytes"]),
        (object(), ["the data is a dict, got object"]),
        (Whole("X", 1.0), []),
        (types.MappingProxyType(GOOD), []),
        (collections.OrderedDict(GOOD), []),
    ],
)
def test_whole_data_of_every_kind(data, problems):
    assert Schema(FLAT).problems(data) == problems


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3) | st.sampled_from(["buy", "sell", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(data=st.dictionaries(st.sampled_from([*FLAT["properties"], "other"]), JSON) | JSON)
def test_both_checkers_give_one_verdict(data):
    own = not Schema(FLAT).problems(data)
    assert own is jsonschema_rs.Draft202012Validator(FLAT).is_valid(data)


def test_every_fault_is_told_and_where_it_is():
    found = Schema(NESTED).problems({"legs": [GOOD, GOOD | {"price": "x", "side": "y"}]})
    assert len(found) == 2
    assert all(problem.startswith("legs.1.") for problem in found)
    many = Schema(NESTED).problems({"legs": [{}] * 1000})
    assert len(many) == 21
    assert many[-1] == "and more"


@pytest.mark.parametrize(
    "document",
    [
        {"type": 7},
        {"type": "objekt", "properties": {"a": {"type": "array", "items": {"type": "string"}}}},
        {"$ref": "#/$defs/nowhere"},
        {"$ref": "https://example.com/schema.json"},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}},
    ],
)
def test_a_document_that_is_no_schema_is_refused_at_registration(document):
    manager = EventVersionManager()
    with pytest.raises(ValueError, match="no JSON Schema"):
        manager.register("t", document, version="1.0.0")
    assert manager.versions("t") == []


@pytest.mark.parametrize(
    "document",
    [
        {"properties": 1},
        {"properties": {"a": 1}},
        {"required": "a"},
        {"required": [1]},
        {"anyOf": {}},
        {"type": object()},
    ],
)
def test_a_document_of_the_wrong_form_is_refused_with_its_place(document):
    with pytest.raises(TypeError, match=r"JSON Schema|plain JSON"):
        Schema(document)


def test_a_reference_to_elsewhere_is_never_fetched(monkeypatch):
    import socket

    def refuse(*_, **__):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(ValueError, match="lies outside the document"):
        EventVersionManager().register("t", {"$ref": "http://127.0.0.1:9/s.json"}, version="1.0.0")


def test_flat_schemas_need_no_extra_and_others_name_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    manager = EventVersionManager()
    manager.register("t", FLAT, version="1.0.0")
    assert manager.problems("t", {"symbol": 1, "price": 1}) == ["symbol is string, got int"]
    with pytest.raises(ImportError, match=r"pip install aresbus\[schema\]"):
        manager.register("u", NESTED, version="1.0.0")
    assert manager.versions("u") == []


def test_the_extra_is_imported_only_where_it_is_needed():
    code = (
        "import sys\n"
        "from aresbus import EventVersionManager\n"
        "manager = EventVersionManager()\n"
        "manager.register('t', {'required_fields': ['a']}, version='1.0.0')\n"
        "manager.problems('t', {'a': 1})\n"
        "print([name for name in ('jsonschema_rs', 'msgspec', 'pydantic', 'decimal', 'numpy',"
        " 'aresbus.schema.derived') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_schema_is_its_own_copy():
    document = {"type": "object", "properties": {"a": {"type": "string"}}}
    schema = Schema(document)
    document["properties"]["a"]["type"] = "integer"
    schema.document["properties"].clear()
    assert schema.problems({"a": 1}) == ["a is string, got int"]
    assert repr(schema) == "<Schema of JSON Schema: [a]>"
