"""Event types, metadata, the dict form, and that Event behaves as a dataclass in every way that code relies on."""

import copy
import dataclasses
import json
import multiprocessing
import pickle
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import aresbus
import numpy as np
import pytest
from aresbus import Event, EventMetadata, EventSnapshot, EventStatus, EventType, register_event_type


def stored(data, **keywords):
    """An event as a log gives it back."""
    with aresbus.Log(None) as log:
        log.append("risk_alert", data, **keywords)
        return next(log.read())


def live(data, **keywords):
    """An event as a bus gives it to its handlers."""
    with aresbus.Log(None) as log:
        return log._publish(
            EventType.RISK_ALERT,
            data,
            "s",
            None,
            None,
            None,
            None,
            None,
            None,
            None,
            aresbus.Expected.ANY,
            None,
        )


MAKERS = [lambda data: Event(EventType.RISK_ALERT, data), stored, live]


# Types


def test_the_fourteen_types_are_their_texts():
    assert len(EventType) == 14
    for member in EventType:
        assert member == member.value == str(member) == member.name.lower()


def test_a_registered_type_is_usable_wherever_a_member_is():
    order_filled = register_event_type("order_filled")
    assert isinstance(order_filled, str)
    assert order_filled == "order_filled"
    assert (order_filled.value, order_filled.name) == ("order_filled", "ORDER_FILLED")
    assert type(order_filled.value) is str
    assert {order_filled: 1}["order_filled"] == 1
    assert json.dumps({"type": order_filled}) == '{"type": "order_filled"}'
    for same in (register_event_type("order_filled"), copy.deepcopy(order_filled), copy.copy(order_filled)):
        assert same is order_filled
    assert pickle.loads(pickle.dumps(order_filled)) is order_filled


def test_registering_a_built_in_text_gives_the_member():
    assert register_event_type("risk_alert") is EventType.RISK_ALERT


@pytest.mark.parametrize(
    ("text", "error"), [("", ValueError), ("x" * 256, ValueError), (3, TypeError), (None, TypeError)]
)
def test_a_type_has_1_to_255_bytes_of_text(text, error):
    with pytest.raises(error):
        register_event_type(text)


def test_a_stored_type_that_nobody_registered_is_delivered_as_text():
    with aresbus.Log(None) as log:
        log.append("nobody_knows_it", 1)
        event = next(log.read())
    assert event.event_type == "nobody_knows_it"
    assert type(event.event_type) is str


# Metadata


def test_metadata_is_a_dataclass_with_the_defaults_of_the_contract():
    names = [field.name for field in dataclasses.fields(EventMetadata)]
    assert " ".join(names) == (
        "event_id version schema_version timestamp source correlation_id causation_id aggregate_id "
        "sequence_number retry_count status tags"
    )
    made = EventMetadata()
    assert (made.version, made.schema_version, made.source) == ("1.0.0", "1.0.0", "")
    assert (made.sequence_number, made.retry_count, made.status) == (0, 0, EventStatus.PENDING)
    assert (made.correlation_id, made.causation_id, made.aggregate_id, made.tags) == (None, None, None, {})
    assert made.timestamp.utcoffset() == timedelta(0)
    assert made.event_id != EventMetadata().event_id
    assert made.tags is not EventMetadata().tags


def test_metadata_of_a_stored_event_is_what_was_given():
    event = stored(
        1, source="s", correlation_id="c", causation_id="d", aggregate_id="a", tags={"k": "v"}, event_id="own",
        event_time_ns=1_000_001_500, schema_version="1.1.0",
    )  # fmt: skip
    metadata = event.metadata
    assert metadata is event.metadata
    assert (metadata.event_id, metadata.source, metadata.correlation_id) == ("own", "s", "c")
    assert (metadata.causation_id, metadata.aggregate_id, metadata.tags) == ("d", "a", {"k": "v"})
    assert metadata.schema_version == "1.1.0"
    assert metadata.timestamp == datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=UTC)
    assert event.event_time_ns == 1_000_001_500


def test_without_an_event_time_the_timestamp_is_that_of_the_append():
    event = stored(1)
    assert event.event_time_ns is None
    assert event.metadata.timestamp == aresbus.events.datetime_of_ns(event.ts_ns)


def test_metadata_is_mutable_and_the_stored_event_is_not():
    with aresbus.Log(None) as log:
        log.append("risk_alert", 1, tags={"k": "v"})
        first = next(log.read())
        first.metadata.tags["seen"] = "yes"
        first.metadata.source = "changed"
        assert first.tags == {"k": "v"}
        again = next(log.read())
    assert again.metadata.tags == {"k": "v"}
    assert again.metadata.source == ""


@pytest.mark.parametrize("make", MAKERS)
def test_status_set_before_the_metadata_is_made_shows_in_it(make):
    event = make(1)
    event._set_status(EventStatus.FAILED)
    assert event.metadata.status is EventStatus.FAILED
    event._set_status(EventStatus.PROCESSED)
    assert event.metadata.status is EventStatus.PROCESSED is event._status()


# Dataclass behaviour


@pytest.mark.parametrize("make", MAKERS)
def test_an_event_is_a_dataclass(make):
    event = make({"a": [1, 2]})
    assert dataclasses.is_dataclass(event)
    assert dataclasses.is_dataclass(Event)
    assert [field.name for field in dataclasses.fields(event)] == ["event_type", "data", "metadata"]
    plain = dataclasses.asdict(event)
    assert plain["data"] == {"a": [1, 2]}
    assert plain["metadata"]["event_id"] == event.event_id
    other = dataclasses.replace(event, data=2)
    assert (other.data, other.event_type, other.metadata) == (2, event.event_type, event.metadata)


@pytest.mark.parametrize("make", MAKERS)
def test_events_match_by_position_and_name(make):
    match make({"price": 5}):
        case Event(EventType.RISK_ALERT, {"price": price}, EventMetadata(source=source)):
            assert price == 5
            assert source in {"", "s"}
        case _:
            pytest.fail("no match")


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda event: pickle.loads(pickle.dumps(event))])
def test_copies_are_equal(make, again):
    event = make({"a": [1]})
    event.metadata.tags["x"] = "y"
    twin = again(event)
    assert twin == event
    assert twin is not event
    assert (twin.seq, twin.raw, twin.event_id) == (event.seq, event.raw, event.event_id)


def test_a_deep_copy_shares_nothing():
    event = Event(EventType.RISK_ALERT, {"a": [1]})
    twin = copy.deepcopy(event)
    twin.data["a"].append(2)
    twin.metadata.tags["k"] = "v"
    assert event.data == {"a": [1]}
    assert event.metadata.tags == {}


@pytest.mark.parametrize("make", MAKERS)
def test_equality_is_by_three_fields_and_there_is_no_hash(make):
    event = make({"a": 1})
    twin = Event(event.event_type, {"a": 1}, copy.deepcopy(event.metadata))
    assert event == twin
    for change in ({"data": 2}, {"event_type": "x"}, {"metadata": EventMetadata()}):
        assert dataclasses.replace(event, **change) != event
    assert event != {"a": 1}
    with pytest.raises(TypeError):
        hash(event)


def test_the_repr_is_short_and_decodes_nothing():
    event = stored({"big": "x" * 10_000})
    assert len(repr(event)) < 120
    assert "risk_alert" in repr(event)


def echo(event, kind):
    """In a spawned process: the event and type as they arrived."""
    return event, kind is register_event_type("spawned_type"), event.event_type is kind


def test_events_and_types_cross_to_a_spawned_process():
    kind = register_event_type("spawned_type")
    event = Event(kind, {"a": 1}, EventMetadata(tags={"k": "v"}))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        returned, is_registered, is_same = pool.apply(echo, (event, kind))
    assert returned == event
    assert returned.event_type is kind
    assert is_registered
    assert is_same


# Dict form


@pytest.mark.parametrize("make", MAKERS)
def test_the_dict_form_is_ready_for_json_and_back(make):
    event = make({"a": [1, 2.5, None], "ü": {"b": True}})
    form = event.to_dict()
    assert list(form) == ["event_type", "data", "metadata"]
    assert form["metadata"]["status"] == "pending"
    assert form["metadata"]["timestamp"].endswith("+00:00")
    assert Event.from_dict(json.loads(json.dumps(form))) == event


def test_the_dict_form_has_the_data_as_the_log_would_give_it_back():
    event = Event(
        EventType.RISK_ALERT,
        {"when": datetime(2024, 1, 2, tzinfo=UTC), "d": Decimal("1.10"), "n": np.float64(2.5)},
    )
    form = event.to_dict()
    assert form["data"] == {"when": "2024-01-02T00:00:00+00:00", "d": "1.10", "n": 2.5}
    with aresbus.Log(None) as log:
        log.append("risk_alert", event.data)
        assert next(log.read()).data == form["data"]


def test_data_without_json_form_is_refused():
    with pytest.raises(aresbus.EncodeError):
        Event(EventType.RISK_ALERT, object()).to_dict()


@pytest.mark.parametrize(
    ("value", "error", "named"),
    [
        ({}, KeyError, "event_type"),
        ({"event_type": "x"}, KeyError, "data"),
        ({"event_type": 3, "data": 1}, ValueError, "event_type"),
        ({"event_type": "x", "data": 1, "metadata": {"sourc": ""}}, ValueError, "sourc"),
        ({"event_type": "x", "data": 1, "metadata": {"source": 3}}, ValueError, "source"),
        (
            {"event_type": "x", "data": 1, "metadata": {"sequence_number": True}},
            ValueError,
            "sequence_number",
        ),
        (
            {"event_type": "x", "data": 1, "metadata": {"timestamp": "2024-01-01T00:00:00"}},
            ValueError,
            "naive",
        ),
        ({"event_type": "x", "data": 1, "metadata": {"status": "lost"}}, ValueError, "lost"),
        ({"event_type": "x", "data": 1, "metadata": [1]}, ValueError, "metadata"),
    ],
)
def test_a_wrong_dict_is_refused_by_name(value, error, named):
    with pytest.raises(error, match=named):
        Event.from_dict(value)


def test_from_dict_of_a_subclass_gives_the_subclass():
    class Mine(Event):
        pass

    assert type(Mine.from_dict({"event_type": "x", "data": 1})) is Mine


def test_snapshots_have_a_dict_form():
    snapshot = EventSnapshot("s", datetime(2024, 1, 2, tzinfo=UTC), "a", 7, {"x": [1]})
    assert dataclasses.is_dataclass(snapshot)
    assert snapshot.version == "1.0.0"
    assert EventSnapshot.from_dict(json.loads(json.dumps(snapshot.to_dict()))) == snapshot
    with pytest.raises(ValueError, match="sequence_number"):
        EventSnapshot.from_dict({**snapshot.to_dict(), "sequence_number": "7"})
