"""How the fast calls take their arguments: as any Python function would, whatever the call looks like."""

import contextlib
import decimal
import gc
import inspect
import itertools
import pickle
import tracemalloc
import uuid
import weakref

import aresbus
import pytest


@pytest.fixture(name="log")
def opened(tmp_path):
    with aresbus.open(tmp_path / "log") as log:
        yield log


def not_interned(text):
    """A text that is equal to a keyword and not the same object."""
    return "".join([text[:1], text[1:]])


KEYWORDS = {
    "source": "desk",
    "correlation_id": "talk",
    "causation_id": "cause",
    "aggregate_id": "book",
    "tags": {"a": "b"},
    "event_id": "mine",
    "event_time_ns": 7,
    "schema_version": "1.2.0",
    "expected_version": aresbus.Expected.NONE,
    "durability": "none",
}


def stored(log):
    [event] = log.read()
    meta = event.metadata
    return (
        event.event_type, event.data, event.source, event.correlation_id, meta.causation_id, event.aggregate_id,
        meta.tags, event.event_id, event.event_time_ns, event.schema_version,
    )  # fmt: skip


ALL = ("t", {"n": 1}, "desk", "talk", "cause", "book", {"a": "b"}, "mine", 7, "1.2.0")


@pytest.mark.parametrize("order", [list(KEYWORDS), list(KEYWORDS)[::-1]], ids=["in order", "backwards"])
@pytest.mark.parametrize("spell", [str, not_interned], ids=["interned", "not interned"])
def test_every_keyword_arrives_in_any_order_and_spelling(log, order, spell):
    log.append("t", {"n": 1}, **{spell(name): KEYWORDS[name] for name in order})
    assert stored(log) == ALL


def test_what_may_be_given_by_position_may_be_given_by_keyword(log):
    log.append(data={"n": 1}, event_type="t", **KEYWORDS)
    assert stored(log) == ALL
    log.append_bytes(payload=b"x", encoding="bytes", event_type="u")
    assert [event.raw for event in log.read(types=["u"])] == [b"x"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda log: log.append(),
            "append() missing 2 required positional arguments: 'event_type' and 'data'",
        ),
        (lambda log: log.append("t"), "append() missing 1 required positional argument: 'data'"),
        (lambda log: log.append("t", 1, "desk"), "append() takes 2 positional arguments but 3 were given"),
        (lambda log: log.append("t", 1, price=2), "append() got an unexpected keyword argument 'price'"),
        (lambda log: log.append("t", 1, data=2), "append() got multiple values for argument 'data'"),
        (lambda log: log.append("t", 1, source=2), "argument 'source': 'int' object"),
        (lambda log: log.append("t", 1, source=None), "argument 'source': 'None"),
        (lambda log: log.append("t", 1, correlation_id=2), "argument 'correlation_id': 'int' object"),
        (lambda log: log.append("t", 1, event_time_ns="now"), "argument 'event_time_ns': 'str' object"),
        (lambda log: log.append(1, 1), "argument 'event_type': 'int' object"),
        (
            lambda log: log.append_bytes("t"),
            "append_bytes() missing 1 required positional argument: 'payload'",
        ),
        (lambda log: log.append_bytes("t", "x"), "a payload is bytes, bytearray or memoryview, not str"),
        (lambda log: log._publish("t", 1), "_publish() missing 10 required positional arguments"),
        (lambda log: aresbus.Log.append(1, "t", 1), "'append'"),
    ],
)
def test_a_call_that_does_not_fit_says_what_python_says(log, call, message):
    with pytest.raises(TypeError) as caught:
        call(log)
    assert message in str(caught.value)
    assert log.last_seq is None


def test_the_cause_of_a_wrong_argument_is_kept(log):
    class Broken:
        def items(self):
            raise RuntimeError("no items today")

    with pytest.raises(RuntimeError, match="no items today"):
        log.append("t", 1, tags=Broken())
    with pytest.raises(TypeError, match="argument 'tags': tags map text to text"):
        log.append("t", 1, tags={1: "x"})


class Text(str):
    """A text of a subclass: as good as a text."""

    __slots__ = ()


def test_texts_of_subclasses_and_beyond_ascii_are_texts(log):
    texts = ["plain", "é", "€uro", "𝄞 clef", "", "a" * 200, "ü" * 100]
    for text in texts:
        log.append(Text("t"), {"text": text, text: 1}, source=Text(text), correlation_id=Text(text) or None)
    for event, text in zip(log.read(), texts, strict=True):
        assert (event.event_type, event.source, event.correlation_id) == ("t", text, text or None)
        assert event.data == {"text": text, text: 1}


def test_a_lone_surrogate_is_named_in_any_argument(log):
    for name in ("source", "correlation_id", "aggregate_id", "event_id", "causation_id", "schema_version"):
        with pytest.raises(aresbus.EncodeError, match=name):
            log.append("t", 1, **{name: "\ud800"})
    with pytest.raises(aresbus.EncodeError, match="event_type"):
        log.append("\ud800", 1)
    with pytest.raises(aresbus.EncodeError):
        log.append("t", "\ud800")
    assert log.last_seq is None


def test_signatures_docs_and_weak_references_work_as_of_any_method(log):
    signature = inspect.signature(aresbus.Log.append)
    assert list(signature.parameters) == ["self", "event_type", "data", *KEYWORDS]
    assert signature.parameters["source"].default == ""
    assert (aresbus.Log.append.__doc__ or "").startswith("Append one event")
    assert aresbus.Log.append.__name__ == "append"
    assert log.append.__self__ is log
    assert inspect.ismethoddescriptor(aresbus.Log.append)
    reference = weakref.ref(log)
    assert reference() is log
    receipt = log.append("t", 1)
    assert pickle.loads(pickle.dumps(receipt)) == receipt


FAILING = [
    ((), {}),
    (("t", 1), {"price": 2}),
    (("t", 1), {"source": 2}),
    (("t", "\ud800"), {}),
    (("t", {"a": {"b": object()}}), {}),
    (("t", 1), {"aggregate_id": "a", "expected_version": 9}),
    (("t" * 300, 1), {}),
    (("t", 1), {"tags": {1: 2}}),
    (("t", 1), {"source": "\ud800"}),
]


def failing(arguments, keywords):
    def call(log):
        with contextlib.suppress(Exception):
            log.append(*arguments, **keywords)

    return call


def unusual(log):
    log.append("t", {"n": float("nan"), "d": decimal.Decimal(1), "u": uuid.UUID(int=1)}, tags={"a": "b"})
    log.append("t", 2**64 - 1, source=Text("s"), **{not_interned("correlation_id"): "c"})
    log.append("t", [1, (2, 3)], expected_version=aresbus.Expected.ANY, durability="none")
    log.append_bytes("t", bytearray(b"x"))


@pytest.mark.parametrize("calls", [unusual, *(failing(*one) for one in FAILING)])
def test_nothing_is_kept_of_a_million_calls(log, calls):
    def held_after(rounds):
        for _ in range(rounds):
            calls(log)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        held = [held_after(300), *(held_after(3_000) for _ in range(3))]
        # The least of three: what threads of other tests come to hold meanwhile is not of these calls.
        grown = min(after - before for before, after in itertools.pairwise(held))
        assert grown < 3_000 * 4, "less than a pointer a call"
    finally:
        tracemalloc.stop()
