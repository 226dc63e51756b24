"""Appending through the compiled log: arguments, receipts, expectations, batches, given bytes, the live event."""

import pickle
import sys
import uuid
from enum import StrEnum

import pytest
from aresbus import _core, errors
from aresbus.events import EventType, register_event_type


@pytest.fixture
def log():
    with _core.Log(None) as log:
        yield log


def only(log):
    """The one event of a log."""
    (event,) = log.read()
    return event


def test_positions_are_contiguous_from_zero(log):
    assert [log.append("t", at).seq for at in range(5)] == [0, 1, 2, 3, 4]
    assert log.last_seq == 4


def test_versions_count_within_the_aggregate(log):
    receipts = [log.append("t", 1, aggregate_id=name) for name in "aabab"]
    assert [receipt.aggregate_version for receipt in receipts] == [0, 1, 0, 2, 1]
    assert [event.aggregate_prev for event in log.read()] == [None, 0, None, 1, 2]
    assert log.append("t", 1).aggregate_version is None
    assert log.aggregate_version("a") == 2
    assert log.aggregate_version("nobody") is None


def test_everything_given_comes_back(log):
    given = {
        "source": "feed",
        "correlation_id": "conversation é",
        "causation_id": str(uuid.uuid4()),
        "aggregate_id": "BTCUSDT",
        "tags": {"venue": "x", "": "empty key", "long": "v" * 1000},
        "event_id": "my own id",
        "event_time_ns": -5,
        "schema_version": "1.1.0",
    }
    receipt = log.append("trade_executed", {"price": 1.5}, **given)
    event = only(log)
    assert receipt.event_id == "my own id"
    assert {name: getattr(event, name) for name in given} == given
    assert (event.event_type, event.data, event.seq) == (EventType.TRADE_EXECUTED, {"price": 1.5}, 0)
    assert event.aggregate_version == 0
    assert event.epoch == log.epoch
    assert (event.encoding, event.lossy, event.schema_valid, event.is_replay) == ("json", False, None, False)


def test_nothing_given_has_the_documented_defaults(log):
    log.append("t", None)
    event = only(log)
    assert event.data is None
    assert (event.source, event.schema_version, event.tags) == ("", "1.0.0", {})
    assert [event.aggregate_id, event.correlation_id, event.causation_id, event.event_time_ns] == [None] * 4
    assert uuid.UUID(event.event_id).version == 7
    assert isinstance(event.ts_ns, int)


def test_any_text_is_an_event_type(log):
    class Mine(StrEnum):
        SIDE = "side_step"

    log.append(Mine.SIDE, 1)
    log.append("ω" * 127, 2)
    kind = register_event_type("core_append_registered")
    log.append("core_append_registered", 3)
    first, second, third = log.read()
    assert (first.event_type, type(first.event_type)) == ("side_step", str)
    assert second.event_type == "ω" * 127
    assert third.event_type is kind


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"event_type": "x" * 256}, "event type"),
        ({"source": "é" * 128}, "source"),
        ({"event_id": "x" * 1025}, "event id"),
        ({"aggregate_id": "x" * 1025}, "aggregate id"),
        ({"correlation_id": "x" * 1025}, "correlation id"),
        ({"causation_id": "x" * 1025}, "causation id"),
        ({"schema_version": "1" * 256}, "schema version"),
        ({"tags": {"k" * 256: "v"}}, "tag key"),
        ({"tags": {"k": "v" * 65_536}}, "tag value"),
        ({"tags": {str(at): "v" for at in range(1025)}}, "tags"),
    ],
)
def test_what_is_too_long_is_named_with_its_limit_and_not_written(log, arguments, what):
    with pytest.raises(errors.LimitError, match=what) as raised:
        log.append(**{"event_type": "t", "data": 1} | arguments)
    assert raised.value.got > raised.value.limit
    assert log.last_seq is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"event_type": 5},
        {"event_type": None},
        {"source": None},
        {"source": 5},
        {"aggregate_id": 5},
        {"tags": 5},
        {"tags": {"k": 1}},
        {"tags": {1: "v"}},
        {"event_time_ns": "now"},
        {"expected_version": "any", "aggregate_id": "a"},
        {"expected_version": True, "aggregate_id": "a"},
        {"durability": 5},
        {"unknown": 1},
    ],
)
def test_arguments_of_a_wrong_type_are_type_errors(log, arguments):
    with pytest.raises(TypeError):
        log.append(**{"event_type": "t", "data": 1} | arguments)
    assert log.last_seq is None


def test_lone_surrogates_are_refused_by_name_of_the_argument(log):
    for name in ("source", "aggregate_id", "event_id", "correlation_id", "causation_id", "schema_version"):
        with pytest.raises(errors.EncodeError) as raised:
            log.append("t", 1, **{name: "\ud800"})
        assert raised.value.value_path == name
    for arguments in ({"event_type": "\ud800"}, {"event_type": "t", "tags": {"k": "\ud800"}}):
        with pytest.raises(errors.EncodeError):
            log.append(data=1, **arguments)
    assert log.last_seq is None


def test_numbers_past_their_bits_are_refused(log):
    with pytest.raises(errors.EncodeError, match="64 bits"):
        log.append("t", 1, event_time_ns=2**63)
    for version in (-1, 2**32):
        with pytest.raises(ValueError, match="aggregate version"):
            log.append("t", 1, aggregate_id="a", expected_version=version)


def test_expectations_hold_or_name_the_conflict(log):
    expected = _core.Expected
    log.append("first", 1, aggregate_id="a", expected_version=expected.NONE)
    log.append("second", 1, aggregate_id="a", expected_version=expected.EXISTS)
    log.append("third", 1, aggregate_id="a", expected_version=1)
    log.append("fourth", 1, aggregate_id="a", expected_version=expected.ANY)
    log.append("fifth", 1, aggregate_id="a", expected_version=...)  # what the signature shows as the default
    for wrong, aggregate, actual, seq, kind in (
        (expected.NONE, "a", 4, 4, "fifth"),
        (3, "a", 4, 4, "fifth"),
        (expected.EXISTS, "b", None, None, None),
        (0, "b", None, None, None),
    ):
        with pytest.raises(errors.VersionConflictError) as raised:
            log.append("t", 1, aggregate_id=aggregate, expected_version=wrong)
        error = raised.value
        assert (error.aggregate_id, error.expected, error.actual) == (aggregate, wrong, actual)
        assert (error.conflicting_seq, error.conflicting_type) == (seq, kind)
    with pytest.raises(errors.ConfigError, match="aggregate_id"):
        log.append("t", 1, expected_version=0)
    assert log.last_seq == 4


def test_the_constants_of_expected_are_single_objects():
    for constant in (_core.Expected.ANY, _core.Expected.NONE, _core.Expected.EXISTS):
        assert pickle.loads(pickle.dumps(constant)) is constant
        assert constant == constant  # noqa: PLR0124 - equality is what is tested
        assert hash(constant) == hash(constant)
    assert _core.Expected.ANY != _core.Expected.NONE
    assert repr(_core.Expected.EXISTS) == "Expected.EXISTS"


class TestReceipt:
    """Receipts are plain values."""

    def test_fields_equality_hash_and_repr(self):
        receipt = _core.Receipt(3, "an 'id'", None)
        assert (receipt.seq, receipt.event_id, receipt.aggregate_version) == (3, "an 'id'", None)
        assert receipt.duplicate is False
        assert receipt == _core.Receipt(seq=3, event_id="an 'id'", aggregate_version=None, duplicate=False)
        assert hash(receipt) == hash(_core.Receipt(3, "an 'id'", None))
        assert receipt != _core.Receipt(3, "an 'id'", 0)
        assert receipt != (3, "an 'id'", None, False)
        assert eval(repr(receipt), {"Receipt": _core.Receipt}) == receipt

    def test_the_id_is_the_very_text_given(self):
        for text in (str(uuid.uuid4()), str(uuid.uuid4()).upper(), uuid.uuid4().hex, "", "é"):
            assert _core.Receipt(0, text, None).event_id == text

    def test_pickles_and_is_frozen(self, log):
        receipt = log.append("t", 1, aggregate_id="a")
        assert pickle.loads(pickle.dumps(receipt)) == receipt
        with pytest.raises(AttributeError):
            receipt.seq = 5

    def test_is_final(self):
        with pytest.raises(TypeError):
            type("Mine", (_core.Receipt,), {})


class TestBatch:
    """append_many: all or nothing."""

    def test_pairs_and_mappings_share_the_defaults(self, log):
        receipts = log.append_many(
            [
                ("one", 1),
                ["two", 2],
                {"event_type": "three", "data": 3, "source": "own", "tags": {"k": "v"}, "event_id": "x"},
                {"event_type": "four", "data": 4, "aggregate_id": None, "event_time_ns": 7},
            ],
            source="shared",
            aggregate_id="a",
            tags={"all": "yes"},
            correlation_id="c",
            causation_id="d",
            schema_version="2.0.0",
        )
        assert [receipt.aggregate_version for receipt in receipts] == [0, 1, 2, None]
        events = list(log.read())
        assert [event.data for event in events] == [1, 2, 3, 4]
        assert [event.source for event in events] == ["shared", "shared", "own", "shared"]
        assert [event.tags for event in events] == [{"all": "yes"}] * 2 + [{"k": "v"}, {"all": "yes"}]
        assert {event.schema_version for event in events} == {"2.0.0"}
        assert {(event.correlation_id, event.causation_id) for event in events} == {("c", "d")}
        assert (events[2].event_id, events[3].event_time_ns) == ("x", 7)

    def test_takes_any_iterable_and_an_empty_one(self, log):
        assert log.append_many([]) == []
        assert log.append_many(iter(())) == []
        assert log.last_seq is None
        assert [receipt.seq for receipt in log.append_many(("t", at) for at in range(300))] == list(
            range(300)
        )

    @pytest.mark.parametrize(
        "wrong",
        [
            ("t", {1}),
            ("t",),
            ("t", 1, 2),
            "ab",
            5,
            (5, 1),
            {"event_type": "t"},
            {"data": 1},
            {"event_type": "t", "data": 1, "unknown": 1},
            {"event_type": "t", "data": 1, "durability": "none"},
            {"event_type": "t", "data": 1, "aggregate_id": "a", "expected_version": 5},
            {"event_type": "x" * 256, "data": 1},
        ],
    )
    def test_one_wrong_event_refuses_all(self, log, wrong):
        with pytest.raises((TypeError, ValueError, errors.VersionConflictError)) as raised:
            log.append_many([("t", 1), wrong, ("t", 2)])
        assert log.last_seq is None
        if isinstance(raised.value, TypeError):
            assert "event 1 of the batch" in raised.value.__notes__

    def test_a_failing_iterable_writes_nothing(self, log):
        def events():
            yield "t", 1
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            log.append_many(events())
        assert log.last_seq is None

    def test_an_append_from_inside_the_iterable_comes_first(self, log):
        def events():
            yield "batch", 1
            log.append("inner", 0)
            yield "batch", 2

        log.append_many(events())
        assert [event.event_type for event in log.read()] == ["inner", "batch", "batch"]

    def test_expectations_see_the_batch_itself(self, log):
        one = {"event_type": "t", "data": 1, "aggregate_id": "a"}
        log.append_many([one | {"expected_version": _core.Expected.NONE}, one | {"expected_version": 0}])
        assert log.aggregate_version("a") == 1

    def test_more_than_a_segment_holds_is_refused_before_anything_is_written(self, tmp_path):
        with _core.Log(tmp_path / "log", segment_bytes=65_536) as log:
            with pytest.raises(errors.LimitError):
                log.append_many([("t", "x" * 40_000)] * 2)
            assert log.last_seq is None
            log.append_many([("t", "x" * 10_000)] * 3)


class TestBytes:
    """append_bytes: byte for byte."""

    def test_any_bytes(self, log):
        every = bytes(range(256))
        for payload in (b"", every, bytearray(every), memoryview(every), memoryview(every)[::2]):
            log.append_bytes("t", payload)
        events = list(log.read())
        assert [event.raw for event in events] == [b"", every, every, every, every[::2]]
        assert [event.data for event in events] == [event.raw for event in events]
        assert {event.encoding for event in events} == {"bytes"}

    def test_what_was_given_may_change_afterwards(self, log):
        payload = bytearray(b"before")
        log.append_bytes("t", payload)
        payload[:] = b"after!"
        assert only(log).raw == b"before"

    def test_given_json_is_stored_as_it_stands(self, log):
        text = b' {"a" : 1e2, "a": 12345678901234567890123, "b": "\\u00e9"} '
        log.append_bytes("t", text, encoding="json")
        event = only(log)
        assert (event.raw, event.encoding) == (text, "json-given")
        assert event.data == {"a": 12345678901234567890123.0, "b": "é"}  # orjson reads large integers so

    @pytest.mark.parametrize("text", [b"", b"{", b"NaN", b"[1,]", b"'a'", b'"\xff"', b"{} {}", b"[" * 5000])
    def test_what_is_no_strict_json_is_refused(self, log, text):
        with pytest.raises(errors.EncodeError):
            log.append_bytes("t", text, encoding="json")
        assert log.last_seq is None

    @pytest.mark.parametrize("payload", ["text", 5, None, [1], object()])
    def test_what_is_not_bytes_is_refused(self, log, payload):
        with pytest.raises(TypeError):
            log.append_bytes("t", payload)
        with pytest.raises(errors.ConfigError, match="encoding"):
            log.append_bytes("t", b"", encoding="xml")


class TestPublish:
    """The bus's append, and the live event it returns."""

    def publish(self, log, event_type, data, **given):
        names = (
            "source",
            "correlation_id",
            "causation_id",
            "aggregate_id",
            "tags",
            "event_id",
            "event_time_ns",
        )
        defaults = dict.fromkeys(names) | {"source": ""}
        values = [given.pop(name, default) for name, default in defaults.items()]
        schema_version = given.pop("schema_version", None)
        expected = given.pop("expected_version", _core.Expected.ANY)
        return log._publish(
            event_type, data, *values, schema_version, expected, given.pop("schema_valid", None)
        )

    def test_the_live_event_equals_the_stored_one(self, log):
        data = {"a": [1, 2.5, None, True, "x"], "b": {}}
        live = self.publish(
            log,
            EventType.RISK_ALERT,
            data,
            source="s",
            correlation_id="c",
            causation_id="d",
            aggregate_id="a",
            tags={"k": "v"},
            event_id="e",
            event_time_ns=5,
            schema_version="3.0.0",
            schema_valid=False,
        )
        stored = only(log)
        names = [
            *(
                "seq",
                "event_id",
                "aggregate_id",
                "aggregate_version",
                "aggregate_prev",
                "source",
                "raw",
                "epoch",
            ),
            *(
                "correlation_id",
                "causation_id",
                "schema_version",
                "tags",
                "ts_ns",
                "event_time_ns",
                "encoding",
            ),
            *("lossy", "schema_valid", "event_type", "data", "metadata", "is_replay"),
        ]
        assert {name: getattr(live, name) for name in names} == {
            name: getattr(stored, name) for name in names
        }
        assert live == stored
        assert live.data is data
        assert live.schema_valid is False

    def test_data_that_is_not_exactly_json_is_decoded_again(self, log):
        class Text(str):
            __slots__ = ()

        for data in ((1, 2), {"a": (1,)}, {"a": Text("x")}, EventType.RISK_ALERT, float("nan")):
            live = self.publish(log, "t", data)
            assert live.data is not data
        assert [event.data for event in log.read()] == [
            [1, 2],
            {"a": [1]},
            {"a": "x"},
            "risk_alert",
            None,
        ]
        assert live.lossy

    def test_types_are_resolved_as_of_stored_events(self, log):
        kind = register_event_type("core_publish_registered")
        assert self.publish(log, "risk_alert", 1).event_type is EventType.RISK_ALERT
        assert self.publish(log, kind, 1).event_type is kind
        assert self.publish(log, "nobody_registered_this", 1).event_type == "nobody_registered_this"
        with pytest.raises(TypeError):
            self.publish(log, 5, 1)

    def test_tags_are_copied(self, log):
        tags = {"k": "v"}
        live = self.publish(log, "t", 1, tags=tags)
        tags["k"] = "changed"
        live.tags["k"] = "changed too"
        assert live.tags == {"k": "v"} == only(log).tags

    @pytest.mark.parametrize("valid", [None, True, False])
    def test_the_schema_mark_is_stored(self, log, valid):
        self.publish(log, "t", 1, schema_valid=valid)
        assert only(log).schema_valid is valid

    def test_expectations_hold_here_too(self, log):
        with pytest.raises(errors.VersionConflictError):
            self.publish(log, "t", 1, aggregate_id="a", expected_version=0)


def test_a_listener_hears_every_append(log):
    heard = []
    log._on_commit(lambda: heard.append(log.last_seq))
    log.append("t", 1)
    log.append_bytes("t", b"")
    log.append_many([("t", 1), ("t", 2)])
    TestPublish().publish(log, "t", 1)
    with pytest.raises(errors.EncodeError):
        log.append("t", {1})
    log._on_commit(None)
    log.append("t", 1)
    assert heard == [0, 1, 3, 4]


def test_a_failing_listener_fails_no_append(log, monkeypatch):
    def listener():
        raise ValueError("mine")

    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: told.append((str(args.exc_value), args.object)))
    log._on_commit(listener)
    assert log.append("t", 1).seq == 0
    assert told == [("mine", listener)]


def test_an_interrupted_listener_says_that_the_event_stands(log):
    def listener():
        raise KeyboardInterrupt

    log._on_commit(listener)
    with pytest.raises(KeyboardInterrupt) as raised:
        log.append("t", 1)
    assert (raised.value.committed, raised.value.seq) == (True, 0)
    assert raised.value.event_id == only(log).event_id
