"""What becomes of data: exactly orjson's JSON, what is refused with its path, and what is lost and said to be."""

import dataclasses
import datetime as dt
import decimal
import enum
import gc
import math
import random
import uuid

import numpy as np
import orjson
import pytest
from aresbus import _core, errors


@pytest.fixture
def log():
    with _core.Log(None) as log:
        yield log


@pytest.fixture
def strict_log():
    with _core.Log(None, non_finite="error") as log:
        yield log


def appended(log, data):
    """The event that ``data`` became."""
    receipt = log.append("t", data)
    (event,) = log.read(up_to=receipt.seq, after=receipt.seq - 1 if receipt.seq else None)
    return event


class Side(enum.Enum):
    BUY = "buy"


@dataclasses.dataclass
class Fill:
    price: float
    side: Side = Side.BUY


@dataclasses.dataclass(slots=True)
class Slotted:
    price: float


@pytest.mark.parametrize(
    "data",
    [
        None,
        True,
        0,
        -(2**63),
        2**64 - 1,
        1.5,
        -0.0,
        5e-324,
        "text é \x00 \U0001f600",
        "",
        [],
        {},
        (1, (2,)),
        {"a": {"b": [{"c": None}]}},
        dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC),
        dt.date(2026, 1, 2),
        dt.time(1, 2, 3),
        uuid.UUID(int=5),
        Side.BUY,
        Fill(1.5),
        Slotted(2.5),
        {"fills": [Fill(1.0), Fill(2.0)]},
        np.arange(3),
        np.array([[1.5, 2.5]]),
        np.float64(1.5),
        np.int32(7),
        np.bool_(True),
        np.datetime64("2026-01-02T03:04:05"),
    ],
    ids=repr,
)
def test_the_bytes_are_those_of_orjson(log, data):
    expected = orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)
    event = appended(log, data)
    assert event.raw == expected
    assert event.data == orjson.loads(expected)
    assert (event.encoding, event.lossy) == ("json", False)


def test_decimals_become_their_text(log):
    event = appended(log, {"price": decimal.Decimal("1.10"), "odd": decimal.Decimal("NaN")})
    assert event.data == {"price": "1.10", "odd": "NaN"}
    assert event.lossy is False


def random_json(rng, depth):
    kinds = ["scalar"] * 3 + ["list", "dict"] * (depth > 0)
    match rng.choice(kinds):
        case "list":
            return [random_json(rng, depth - 1) for _ in range(rng.randrange(4))]
        case "dict":
            return {str(rng.random()): random_json(rng, depth - 1) for _ in range(rng.randrange(4))}
        case _:
            integer = rng.randrange(-(2**63), 2**64)
            return rng.choice(
                [None, True, integer, rng.uniform(-1e300, 1e300), rng.random(), "é" * rng.randrange(5)]
            )


def test_exact_json_comes_back_equal_and_live_events_keep_the_object(log):
    rng = random.Random(3)
    for _ in range(300):
        data = random_json(rng, 5)
        live = log._publish("t", data, "", None, None, None, None, None, None, None, _core.Expected.ANY, None)
        assert live.data is data
        assert orjson.loads(live.raw) == data


cyclic = {"a": [0]}
cyclic["a"].append(cyclic)
deep = 0
for _ in range(300):
    deep = [deep]


@pytest.mark.parametrize(
    ("data", "path", "reason"),
    [
        ({1}, "$", "set"),
        ({"a": [1, {"b c": {2}}]}, '$.a[1]["b c"]', "set"),
        ({"a": 2**64}, "$.a", "64-bit"),
        ([0, -(2**63) - 1], "$[1]", "64-bit"),
        ({"a": {"b": "\ud800"}}, "$.a.b", "surrogates"),
        ({"a": {1: 2}}, "$.a", "key must be str"),
        ({"a": {"\ud800": 2}}, "$.a", "surrogates"),
        ({"a": b"bytes"}, "$.a", "bytes"),
        ((0, (1, object())), "$[1][1]", "object"),
        (Fill(price={1}), "$.price", "set"),
        (Slotted(price={1}), "$.price", "set"),
        ({"x": np.arange(4)[::2]}, "$.x", "ndarray"),
        ({"x": np.array([1 + 2j])}, "$.x", "ndarray"),
        ({"": {1}}, '$[""]', "set"),
        (cyclic, "$.a[1]", "Recursion"),
    ],
    ids=[
        "set",
        "odd key",
        "large",
        "small",
        "surrogate",
        "key",
        "key text",
        "bytes",
        "tuple",
        "dataclass",
        "slots",
        "strided",
        "complex",
        "empty key",
        "cycle",
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_path(log, data, path, reason):
    for refused in (log.append, lambda *pair: log.append_many([("fine", 0), pair])):
        with pytest.raises(errors.EncodeError, match=reason) as raised:
            refused("t", data)
        assert raised.value.value_path == path
        assert isinstance(raised.value, (TypeError, ValueError))
    assert log.last_seq is None


def test_deep_nesting_is_refused_with_a_readable_message(log):
    with pytest.raises(errors.EncodeError, match="Recursion") as raised:
        log.append("t", deep)
    assert set(raised.value.value_path[1:]) <= set("[0]")
    assert len(str(raised.value)) < 400


def test_an_error_inside_the_data_is_not_taken_for_one_of_encoding(log):
    class Broken(dict):
        """A subclass is written like a dict; what it raises on the way is its own."""

        def items(self):
            raise AssertionError

    assert appended(log, Broken(a=1)).data == {"a": 1}


class TestNonFinite:
    """NaN and infinities: null and said so, or refused."""

    LOST = (
        (math.nan, "$"),
        ({"a": [1.0, math.inf]}, "$.a[1]"),
        ({"a": (0, {"b": -math.inf})}, "$.a[1].b"),
        (Fill(math.nan), "$.price"),
        ({"f": [Slotted(math.inf)]}, "$.f[0].price"),
        ({"x": np.array([1.0, np.nan])}, "$.x"),
        ({"x": np.float64("nan")}, "$.x"),
        ({"x": np.float32("inf")}, "$.x"),
        ([dt.date(2026, 1, 1), math.nan], "$[1]"),
        ([None, "null", math.nan], "$[2]"),
    )

    def test_become_null_and_are_marked_and_counted(self, log):
        for data, _ in self.LOST:
            event = appended(log, data)
            assert event.lossy
            assert b"null" in event.raw
        assert log.stats()["lossy_count"] == len(self.LOST)

    @pytest.mark.parametrize(("data", "path"), LOST, ids=range(len(LOST)))
    def test_are_refused_where_asked(self, strict_log, data, path):
        with pytest.raises(errors.EncodeError, match="NaN") as raised:
            strict_log.append("t", data)
        assert raised.value.value_path == path
        assert strict_log.last_seq is None

    def test_none_and_the_text_null_are_no_loss(self, strict_log):
        for data in (None, {"a": None}, "null", ["null", (None,)], Fill(None), np.array([1.5])):
            assert not appended(strict_log, data).lossy

    def test_a_batch_marks_only_the_event_concerned(self, log):
        log.append_many([("t", 1.0), ("t", math.nan), ("t", 2.0)])
        assert [event.lossy for event in log.read()] == [False, True, False]


def test_no_code_of_a_value_runs_while_orjson_borrows_its_neighbours(log):
    class Price(decimal.Decimal):
        """Its text and class empty the list that holds it; orjson alone would then read freed memory."""

        def __str__(self):
            data.clear()
            gc.collect()
            return "gone"

        __repr__ = __str__

    class Odd:
        """Pretends to be a Decimal."""

        @property
        def __class__(self):
            data.clear()
            return decimal.Decimal

    data = [Price(at) for at in range(3)]
    assert appended(log, data).data == ["0", "1", "2"]
    assert len(data) == 3
    data = [Odd() for _ in range(3)]
    with pytest.raises(errors.EncodeError):
        log.append("t", data)


def test_strings_and_results_are_not_leaked(log):
    data = {"key": "value" * 100, "n": [1.5] * 20}
    for _ in range(100):
        log.append("t", data)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(1000):
        log.append("t", data, source="s", tags={"a": "b"})
    gc.collect()
    assert len(gc.get_objects()) - before < 50
