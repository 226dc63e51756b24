"""A schema from the class that a user has: dataclass, TypedDict, msgspec.Struct, pydantic model."""

import dataclasses
import datetime as dt
import decimal
import enum
import subprocess
import sys
import typing
import uuid
from collections.abc import Mapping, Sequence

import msgspec
import orjson
import pydantic
import pytest
from aresbus import EventVersionManager, Schema


class Side(enum.Enum):
    BUY = "buy"
    SELL = "sell"


Price = typing.NewType("Price", float)


@dataclasses.dataclass
class Leg:
    venue: str
    qty: float = 0.0


@dataclasses.dataclass
class Fill:
    symbol: str
    side: Side
    price: Price
    size: int
    at: dt.datetime
    key: uuid.UUID
    fee: decimal.Decimal
    legs: list[Leg]
    kind: typing.Literal["limit", "market"]
    pair: tuple[str, int]
    flags: tuple[bool, ...]
    extra: dict[str, float]
    tags: Mapping[str, typing.Any]
    path: Sequence[str]
    parent: str | None
    note: typing.Optional[str] = None  # noqa: UP045 - the older form is still written
    count: typing.ClassVar[int] = 0
    _hidden: int = 0


FILL = Fill(
    "BTC", Side.BUY, Price(1.5), 2, dt.datetime(2024, 1, 1, tzinfo=dt.UTC), uuid.UUID(int=7), decimal.Decimal("0.1"),
    [Leg("X")], "limit", ("a", 1), (True,), {"a": 1.0}, {}, ["p"], None,
)  # fmt: skip


def test_a_dataclass_describes_what_is_stored_of_it():
    schema = Schema.of(Fill)
    assert schema.origin == f"dataclass {__name__}.Fill"
    assert schema.rules["optional_fields"] == ["note"]
    assert "count" not in schema.normal["properties"]
    assert "_hidden" not in schema.normal["properties"]
    assert schema.problems(FILL) == []
    stored = orjson.loads(orjson.dumps(FILL, default=str))
    assert schema.problems(stored) == []


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ({"symbol": 1}, "symbol"),
        ({"side": "hold"}, "side"),
        ({"price": None}, "price"),
        ({"size": 1.5}, "size"),
        ({"legs": [{"qty": 1}]}, "legs.0"),
        ({"kind": "stop"}, "kind"),
        ({"pair": ["a"]}, "pair"),
        ({"pair": ["a", "b"]}, "pair.1"),
        ({"extra": {"a": "b"}}, "extra.a"),
        ({"note": 5}, "note"),
    ],
)
def test_what_does_not_fit_the_class_is_found(change, at):
    found = Schema.of(Fill).problems(orjson.loads(orjson.dumps(FILL, default=str)) | change)
    assert len(found) == 1
    assert found[0].startswith(f"{at}:")


class Quote(typing.TypedDict):
    bid: float
    ask: float
    venue: typing.NotRequired[str]


class Wide(Quote, total=False):
    spread: typing.Required[float]
    depth: int


class Tick(msgspec.Struct):
    bid: float
    ask: float
    venue: str = ""


class Model(pydantic.BaseModel):
    """A note."""

    bid: float = pydantic.Field(alias="b")
    ask: float
    venue: str = ""


def test_a_typed_dict_knows_what_is_optional():
    assert Schema.of(Quote).rules == {"required_fields": ["bid", "ask"], "optional_fields": ["venue"]}
    rules = Schema.of(Wide).rules
    assert set(rules["required_fields"]) == {"bid", "ask", "spread"}
    assert set(rules["optional_fields"]) == {"venue", "depth"}


def test_annotations_that_are_text_mean_the_same():
    code = (
        "from __future__ import annotations\n"
        "import dataclasses, typing\n"
        "from aresbus import Schema\n"
        "class Quote(typing.TypedDict):\n"
        "    bid: float\n"
        "    venue: typing.NotRequired[str]\n"
        "@dataclasses.dataclass\n"
        "class Tick:\n"
        "    bid: float\n"
        "    venue: str = ''\n"
        "for kind in (Quote, Tick):\n"
        "    print(Schema.of(kind).rules, Schema.of(kind).problems({'bid': 'x'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = "{'required_fields': ['bid'], 'optional_fields': ['venue']} ['bid is number, got str']"
    assert done.stdout.splitlines() == [expected, expected]


@pytest.mark.parametrize(
    ("kind", "origin"), [(Quote, "TypedDict"), (Tick, "msgspec.Struct"), (Model, "pydantic model")]
)
def test_three_classes_of_one_shape_are_one_schema(kind, origin):
    schema = Schema.of(kind)
    assert schema.origin == f"{origin} {__name__}.{kind.__name__}"
    assert schema == Schema.of(Quote)
    assert schema.problems({"bid": 1.0, "ask": 2}) == []
    assert schema.problems({"bid": "1"}) == ["ask is missing", "bid is number, got str"]


def test_a_model_that_writes_aliases_is_described_by_them():
    class Aliased(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(serialize_by_alias=True)
        bid: float = pydantic.Field(alias="b")

    assert Schema.of(Aliased).rules["required_fields"] == list(Aliased(b=1).model_dump()) == ["b"]


@dataclasses.dataclass
class Tree:
    kids: list["Tree"]


class Plain:
    pass


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        (Tree, r"kids.*contains itself"),
        (set[str], "no JSON form"),
        (bytes, "no JSON form"),
        (Plain, "no JSON form"),
        (dict[int, str], "keys are text"),
        (typing.Literal[b"x"], "no JSON form"),
        (typing.Callable, "no JSON form"),
    ],
)
def test_a_field_without_json_form_is_refused_by_its_path(annotation, says):
    kind = dataclasses.make_dataclass("Holder", [("inner", annotation)])
    with pytest.raises(TypeError, match=says) as caught:
        Schema.of(kind)
    assert "Holder.inner" in str(caught.value)


def test_a_class_of_no_known_kind_is_refused():
    with pytest.raises(TypeError, match="Plain is no dataclass"):
        Schema.of(Plain)


def test_a_class_may_be_registered_and_grows_by_optional_fields():
    manager = EventVersionManager()
    manager.register("tick", Tick, version="1.0.0")
    wider = msgspec.defstruct("Wider", [("bid", float), ("ask", float), ("venue", str, ""), ("size", int, 0)])
    manager.register("tick", wider, version="1.1.0", compatibility="FULL")
    assert manager.current_version("tick") == "1.1.0"
    assert manager.problems("tick", {"bid": 1, "ask": 1, "size": "x"}) == ["size is integer, got str"]
