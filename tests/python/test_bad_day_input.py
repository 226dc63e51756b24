"""Input that cannot be stored, wrong settings, and sizes at their limits: refused whole, each with what is wrong.

Nothing is written by a refusal, through either door; the very next good call works.
"""

import math

import aresbus
import pytest
from aresbus import ConfigError, EncodeError, EnhancedEventBus, LimitError
from bad_day_support import (
    aresbus_command,
    check_error,
    contents,
    make_log,
    numbers,
    refused,
)
from bus_support import run

RTL = "\u202eשלום مرحبا"
ODD_BUT_FINE = [
    "a\0b",
    RTL,
    "\U0001f600\U00020000",
    "\ufeff",
    "e\u0301",
    "\x1b[31m",
    "\ud7ff\ue000",
    "\u2028",
]
HALF = "half \ud83d"


def written(log):
    """How far the log goes, in events and in bytes."""
    return log.last_seq, [segment["used_bytes"] for segment in log.stats()["segments"]]


@pytest.fixture
def log(tmp_path):
    with aresbus.open(tmp_path / "log", audit=False) as log:
        log.append("note", "first")
        yield log


def cycle():
    data = {"orders": [{"qty": 1}]}
    data["orders"].append(data)
    return data


def nested(levels):
    data = 0
    for _ in range(levels):
        data = [data]
    return data


BAD = {
    "half a surrogate pair": (lambda: {"a": [1, HALF]}, "$.a[1]"),
    "the same in a key": (lambda: {"a": {HALF: 1}}, "$.a"),
    "a huge integer": (lambda: {"orders": [{"qty": 10**400}]}, "$.orders[0].qty"),
    "one past 64 bits": (lambda: [2**64], "$[0]"),
    "a key that is no text": (lambda: {"a": {1: 2}}, "$.a"),
    "the key None": (lambda: [{None: 2}], "$[0]"),
    "a tuple as key": (lambda: {"a": {(1, 2): 3}}, "$.a"),
    "bytes": (lambda: {"raw": b"x"}, "$.raw"),
    "a set": (lambda: {"a": {"b": [{1}]}}, "$.a.b[0]"),
    "an object": (lambda: {"a b": object()}, '$["a b"]'),
    "a function": (lambda: {"f": print}, "$.f"),
    "a cycle": (cycle, "$.orders[1]"),
}


@pytest.mark.parametrize("name", BAD)
def test_the_log_refuses_with_the_path_of_the_value(log, name):
    make, path = BAD[name]
    before = written(log)
    with refused(EncodeError, path, value_path=path) as caught:
        log.append("note", make())
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)
    with refused(EncodeError, value_path=path):
        log.append_many([("note", "good"), ("note", make())])
    with refused(EncodeError, value_path=path):
        log.append_many([{"event_type": "note", "data": make()}, ("note", "good")])
    assert written(log) == before, "not a byte"
    assert log.append("note", "second").seq == 1


@pytest.mark.parametrize("name", BAD)
def test_the_bus_refuses_it_in_both_of_its_ways(tmp_path, caplog, name):
    make, path = BAD[name]

    async def act():
        section = {"event_bus": {"storage_path": str(tmp_path), "audit_trail": False}}
        for strict in (False, True):
            bus = EnhancedEventBus(section, strict=strict)
            await bus.initialize()
            publication = bus.publish("risk_alert", make())
            assert bus.metrics["events_rejected"] == 1
            assert "AB0008" in caplog.text
            check_error(bus.last_error, EncodeError, path, value_path=path)
            if strict:
                with refused(EncodeError, path, value_path=path):
                    await publication
            else:
                assert await publication == ""
            assert bus.log.last_seq is None
            await bus.stop()

    run(act())


def test_nesting_without_end_is_refused_however_deep(log):
    for levels in (300, 5_000, 500_000):
        with pytest.raises(EncodeError) as caught:
            log.append("note", nested(levels))
        check_error(caught.value, EncodeError)
        assert caught.value.value_path.startswith("$[0][0]")
        assert len(str(caught.value)) < 500
    assert log.last_seq == 0
    log.append("note", nested(200))
    assert log.append("note", "third").seq == 2


@pytest.mark.parametrize("text", ODD_BUT_FINE, ids=ascii)
def test_odd_text_comes_back_as_it_was_wherever_it_stands(log, text):
    words = dict.fromkeys(
        ("source", "correlation_id", "causation_id", "aggregate_id", "event_id", "schema_version"), text
    )
    log.append(text, {text: [text]}, tags={text: text}, **words)
    (event,) = log.read(after=0, types=[text])
    assert (event.event_type, event.data, event.tags) == (text, {text: [text]}, {text: text})
    assert {name: getattr(event, name) for name in words} == words
    assert log.aggregate_version(text) == 0
    assert [one.seq for one in log.read(aggregate_id=text)] == [1]
    done = aresbus_command("read", log.path, "--json")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "name",
    [
        "event_type",
        "source",
        "correlation_id",
        "causation_id",
        "aggregate_id",
        "event_id",
        "schema_version",
        "tags",
    ],
)
def test_half_a_surrogate_pair_is_refused_by_the_name_of_its_argument(log, name):
    keywords = {"event_type": "note", name: {HALF: "x"} if name == "tags" else HALF}
    before = written(log)
    with refused(EncodeError, name, value_path=name):
        log.append(data=1, **keywords)
    assert written(log) == before
    if name not in {"event_type", "event_id", "source", "tags", "schema_version"}:
        return
    bus = EnhancedEventBus({"event_bus": {"enable_persistence": False}})
    given = {"event_type": "risk_alert", **keywords} if name != "event_type" else keywords
    given["event_type"] = HALF if name == "event_type" else "risk_alert"
    assert run(bus.publish(data=1, **given)) == ""
    assert bus.metrics["events_rejected"] == 1


def test_json_given_as_bytes_is_held_to_the_same(log):
    for payload in (b"", b"{", b'"\xff"', b'"\\ud83d"', b"NaN", b"[1,]", b"'a'", b"1" * 400, b"[" * 100_000):
        with refused(EncodeError, "JSON", value_path="$"):
            log.append_bytes("note", payload, encoding="json")
    assert log.last_seq == 0
    assert log.append_bytes("note", b"\xff\x00", encoding="bytes").seq == 1


def test_nan_is_null_and_marked_or_refused_where_asked(tmp_path):
    data = {"quotes": [1.5, math.nan, -math.inf]}
    with aresbus.open(tmp_path / "a") as log:
        log.append("note", data)
        (event,) = log.read()
        assert event.data == {"quotes": [1.5, None, None]}
        assert event.lossy
        assert log.stats()["lossy_count"] == 1
    with (
        aresbus.open(tmp_path / "b", non_finite="error") as log,
        refused(EncodeError, "$.quotes[1]", value_path="$.quotes[1]"),
    ):
        log.append("note", data)
    assert numbers(tmp_path / "b") == []

    async def act():
        section = {"event_bus": {"storage_path": str(tmp_path / "c")}}
        async with EnhancedEventBus(section, log_options={"non_finite": "error"}) as bus:
            assert await bus.publish("risk_alert", data) == ""
            check_error(bus.last_error, EncodeError, value_path="$.quotes[1]")
            assert bus.log.last_seq is None

    run(act())


# Sizes


def test_more_than_a_segment_is_refused_with_both_numbers(tmp_path):
    with aresbus.open(tmp_path, segment_bytes=64 * 1024) as log:
        log.append("note", 0)
        for size in (64 * 1024, 10 * 1024 * 1024):
            with refused(LimitError, "limit") as caught:
                log.append_bytes("note", bytes(size))
            error = caught.value
            assert error.got > size
            assert error.limit < 64 * 1024
            assert str(error.got) in error.message
            assert str(error.limit) in error.message
            assert "bytes" in error.what
        with refused(LimitError):
            log.append_many([("note", "x" * 20_000)] * 5)
        assert log.append_bytes("note", bytes(50_000)).seq == 1
        assert log.append("note", 2).seq == 2
        assert log.stats()["roll_count"] <= 2
    with aresbus.open(tmp_path, mode="r") as log:
        assert [len(event.raw) for event in log.read()] == [1, 50_000, 1]


def test_the_largest_that_the_limit_allows_is_taken(tmp_path):
    with aresbus.open(tmp_path, segment_bytes=64 * 1024) as log:
        with pytest.raises(LimitError) as caught:
            log.append_bytes("note", bytes(64 * 1024))
        overhead = caught.value.got - 64 * 1024
        largest = caught.value.limit - overhead
        with pytest.raises(LimitError):
            log.append_bytes("note", bytes(largest + 64))
        receipt = log.append_bytes("note", b"x" * (largest - 64))
        assert receipt.seq == 0
        assert next(log.read()).raw == b"x" * (largest - 64)


def test_the_bus_answers_an_empty_id_and_counts(tmp_path, caplog):
    async def act():
        section = {"event_bus": {"storage_path": str(tmp_path)}}
        async with EnhancedEventBus(section, log_options={"segment_bytes": 64 * 1024}) as bus:
            assert await bus.publish("risk_alert", "x" * 100_000) == ""
            assert bus.metrics["events_rejected"] == 1
            check_error(bus.last_error, LimitError)
            assert "AB0009" in caplog.text
            assert await bus.publish("risk_alert", "small")
        async with EnhancedEventBus(section, log_options={"segment_bytes": 64 * 1024}, strict=True) as bus:
            with refused(LimitError):
                await bus.publish("risk_alert", "x" * 100_000)

    run(act())
    assert numbers(tmp_path) == ["small"]


@pytest.mark.parametrize("size", [2 * 1024 * 1024, 20 * 1024 * 1024], ids=["2 MiB", "20 MiB"])
def test_a_young_log_takes_what_is_larger_than_its_first_segments(tmp_path, size):
    large = "x" * size
    with aresbus.open(tmp_path / "log") as log:
        receipts = [log.append("note", data) for data in (large, "between", large)]
        assert [receipt.seq for receipt in receipts] == [0, 1, 2]
    with aresbus.open(tmp_path / "log") as log:
        assert log.recovery["clean"]
        assert [event.data for event in log.read()] == [large, "between", large]
        assert log.verify()["findings"] == []
        log.append("note", "after")
    assert aresbus_command("verify", tmp_path / "log").returncode == 0


def test_a_young_bus_takes_it_too_and_delivers_it(tmp_path):
    async def act():
        seen = []
        async with EnhancedEventBus({"event_bus": {"storage_path": str(tmp_path)}}, strict=True) as bus:
            bus.subscribe("risk_alert", lambda event: seen.append(len(event.data)))
            await bus.publish("risk_alert", "x" * 5_000_000)
            await bus.publish("risk_alert", "y")
        assert seen == [5_000_000, 1]

    run(act())


# Settings


def test_wrong_options_of_a_log_are_all_listed():
    with refused(ConfigError, "segment_bytes", "sync_interval_ms", "durability", "non_finite") as caught:
        aresbus.Log(
            None,
            segment_bytes=1,
            sync_interval_ms=0,
            durability="sometimes",
            non_finite="zero",
            memory_bytes=5,
        )
    assert len(caught.value.problems) == 5
    assert isinstance(caught.value, ValueError)
    assert any("'sometimes'" in problem or '"sometimes"' in problem for problem in caught.value.problems)


@pytest.mark.parametrize(
    "options",
    [
        {"segment_bytes": 1},
        {"segment_bytes": 2**70},
        {"sync_interval_ms": -1},
        {"durability": "sometimes", "segment_bytes": 0},
    ],
    ids=str,
)
def test_wrong_options_leave_nothing_behind(tmp_path, options):
    with refused(ConfigError, *options):
        aresbus.open(tmp_path / "log", **options)
    assert not (tmp_path / "log").exists()


def test_an_empty_path_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refused(ConfigError, "path"):
        aresbus.open("")
    assert list(tmp_path.iterdir()) == []


def test_wrong_options_of_a_log_that_is_there_change_nothing(tmp_path):
    log = make_log(tmp_path / "log")
    before = contents(log)
    with refused(ConfigError, "segment_bytes", "durability"):
        aresbus.open(log, segment_bytes=1, durability="sometimes")
    assert contents(log) == before
    assert numbers(log) == [0, 1, 2, 3, 4]


def test_wrong_keys_of_a_bus_are_all_listed_and_nothing_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    section = {
        "max_history": 0,
        "batch_size": "many",
        "no_such_key": 1,
        "schema_validation": "very",
        "storage_path": "",
    }
    with refused(ConfigError, *section) as caught:
        EnhancedEventBus({"event_bus": section})
    assert len(caught.value.problems) == len(section)
    assert run(aresbus.setup_enhanced_event_bus({"event_bus": section})) is None
    with refused(ConfigError, "no_such_setting", "mode"):
        EnhancedEventBus({"event_bus": {}}, mode="w", log_options={"no_such_setting": 1})
    assert list(tmp_path.iterdir()) == []


def test_wrong_engine_settings_of_a_bus_are_told_when_it_opens(tmp_path):
    bus = EnhancedEventBus(
        {"event_bus": {"storage_path": str(tmp_path)}},
        log_options={"segment_bytes": 1, "durability": "sometimes"},
    )
    assert run(bus.initialize()) is False
    check_error(bus.last_error, ConfigError, "segment_bytes", "sometimes")
    with refused(ConfigError, "segment_bytes", "sometimes"):
        run(bus.publish("risk_alert", 1))


def test_a_value_of_a_hostile_class_cannot_hang_or_kill(log):
    class Hostile:
        """Raises wherever one looks."""

        def __getattribute__(self, name):
            raise RuntimeError(name)

        def __repr__(self):
            raise RuntimeError("repr")

    with pytest.raises((EncodeError, RuntimeError)):
        log.append("note", {"a": Hostile()})
    assert log.last_seq == 0
    assert log.append("note", 1).seq == 1
