"""Events as upcasters show them: the stored facts with other data, whole or in parts."""

import copy
import dataclasses
import gc
import multiprocessing
import pickle
import weakref

import pytest
from aresbus import _core
from aresbus.events import Event, EventMetadata, EventStatus, EventType

FACTS = (
    "raw",
    "seq",
    "event_id",
    "aggregate_id",
    "aggregate_version",
    "aggregate_prev",
    "source",
    "correlation_id",
    "causation_id",
    "tags",
    "ts_ns",
    "event_time_ns",
    "encoding",
    "epoch",
    "lossy",
    "schema_valid",
)


@pytest.fixture
def log():
    with _core.Log(None) as log:
        yield log


@pytest.fixture(params=["read", "live", "unpickled"])
def stored(log, request):
    """A stored event in each form that an event's facts take."""
    log.append("t", 0, aggregate_id="a")
    live = log._publish(
        EventType.TRADE_EXECUTED,
        {"price": 1.5},
        "desk",
        "c",
        "d",
        "a",
        {"k": "v"},
        "my id",
        1_700_000_000_000_000_000,
        "1.0.0",
        _core.Expected.ANY,
        True,
    )
    if request.param == "live":
        return live
    event = next(log.read(after=0))
    return event if request.param == "read" else pickle.loads(pickle.dumps(event))


def facts(event):
    return {name: getattr(event, name) for name in FACTS}


def test_an_event_that_no_upcaster_made_is_its_own_stored_event(stored):
    assert stored.stored is stored
    assert stored.part is None
    made = Event("t", 1)
    assert made.stored is made
    assert made.part is None


def test_shares_every_stored_fact_and_says_the_rest_otherwise(stored):
    data = {"price": "1.5"}
    shown = stored._presented(data, "1.1.0", None)
    assert facts(shown) == facts(stored)
    assert shown.data is data
    assert (shown.schema_version, shown.part) == ("1.1.0", None)
    assert shown.event_type is EventType.TRADE_EXECUTED
    assert shown.stored is stored
    assert (stored.schema_version, stored.data) == ("1.0.0", {"price": 1.5})


def test_its_metadata_is_made_of_the_facts_and_the_new_version(stored):
    shown = stored._presented({}, "2.0.0", 1)
    assert shown.metadata == dataclasses.replace(stored.metadata, schema_version="2.0.0")
    assert isinstance(shown.metadata, EventMetadata)
    shown.metadata.tags["seen"] = "yes"
    assert "seen" not in stored.metadata.tags
    assert shown.to_dict()["metadata"]["schema_version"] == "2.0.0"


@pytest.mark.parametrize("event_type", [EventType.RISK_ALERT, "risk_alert"])
def test_another_type_is_the_registered_one(stored, event_type):
    shown = stored._presented(None, "1.1.0", 0, event_type)
    assert shown.event_type is EventType.RISK_ALERT
    assert shown.data is None
    assert stored._presented(None, "1.1.0", 0, event_type="nobody's").event_type == "nobody's"


def test_parts_are_told_apart_and_share_their_place(stored):
    parts = [stored._presented({"leg": part}, "2.0.0", part) for part in range(3)]
    assert [(shown.seq, shown.part) for shown in parts] == [(1, 0), (1, 1), (1, 2)]
    assert repr(parts[2]) == "<Event trade_executed seq=1 part=2 id=my id>"
    assert parts[0] != parts[1]
    assert parts[0] == stored._presented({"leg": 0}, "2.0.0", None)


def test_what_is_presented_again_refers_to_the_stored_event(stored):
    first = stored._presented({}, "1.1.0", 0, "leg")
    second = first._presented({}, "1.2.0", 3)
    assert second.stored is stored
    assert (second.event_type, second.schema_version, second.part) == ("leg", "1.2.0", 3)


def test_delivery_is_taken_over_as_it_stands(stored):
    stored._set_replay()
    stored._set_status(EventStatus.RETRYING)
    shown = stored._presented({}, "1.1.0", None)
    assert shown.is_replay
    assert shown.metadata.status is EventStatus.RETRYING


def test_assigned_fields_of_the_stored_event_are_none_of_its_facts(stored):
    stored.event_type, stored.data = "assigned", "assigned"
    assert stored._presented({}, "1.1.0", None).event_type is EventType.TRADE_EXECUTED


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ((1, "1.1.0", -1), OverflowError),
        ((1, "1.1.0", "0"), TypeError),
        ((1, None, 0), TypeError),
        ((1, "1.1.0", 0, 5), TypeError),
        ((1, "1.1.0"), TypeError),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(stored, arguments, kind):
    with pytest.raises(kind):
        stored._presented(*arguments)


def test_an_event_that_was_never_stored_has_nothing_to_share():
    with pytest.raises(ValueError, match="make a new Event"):
        Event("t", 1)._presented(2, "1.1.0", None)


class Mine(Event):
    """A user's own event class."""


def test_subclasses_are_presented_as_plain_events(log):
    log.append("t", 1)
    mine = copy.copy(next(log.read()))
    mine.__setstate__(mine.__reduce__()[2])
    restored = _core._restore_event(Mine, next(log.read()).__reduce__()[1][1])
    shown = restored._presented(2, "1.1.0", None)
    assert type(shown) is Event
    assert shown.stored is restored


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda event: pickle.loads(pickle.dumps(event))]
)
def test_copies_are_presented_alike(stored, copied):
    shown = stored._presented({"legs": [1]}, "1.1.0", 2, "leg")
    again = copied(shown)
    assert again == shown
    assert again is not shown
    assert facts(again) == facts(shown)
    assert (again.part, again.schema_version, again.event_type) == (2, "1.1.0", "leg")
    assert again.stored == stored
    assert again.stored.data == {"price": 1.5}
    assert (again.data is shown.data) == (copied is copy.copy)
    assert (again.stored is stored) == (copied is copy.copy)


def test_a_pickle_holds_the_stored_bytes_once(log):
    log.append("t", "x" * 10_000)
    shown = next(log.read())._presented(1, "1.1.0", 0)
    assert len(pickle.dumps(shown)) < 11_000


def test_an_event_that_refers_to_itself_survives_pickling(stored):
    shown = stored._presented({}, "1.1.0", 0)
    shown.data["me"] = shown
    stored.data = {"shown": shown}
    again = pickle.loads(pickle.dumps(shown))
    assert again.data["me"] is again
    assert again.stored.data["shown"] is again
    assert again.raw == b'{"price":1.5}'


def test_crosses_into_a_spawned_process(stored):
    shown = stored._presented({"legs": [1]}, "1.1.0", 2, "leg")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(described, (shown,)) == described(shown)


def described(event):
    return (event.part, event.schema_version, str(event.event_type), event.data, event.stored.data, event.raw)


def test_cycles_through_the_stored_event_are_collected(log):
    log.append("t", {})
    event = next(log.read())
    shown = event._presented({}, "1.1.0", 0)
    event.data["shown"] = shown
    watched = weakref.ref(event), weakref.ref(shown)
    del event, shown
    gc.collect()
    assert [reference() for reference in watched] == [None, None]


def test_outlives_its_log(log):
    log.append("t", {"a": 1})
    shown = next(log.read())._presented(2, "1.1.0", None)
    log.close()
    assert (shown.raw, shown.stored.data, shown.seq) == (b'{"a":1}', {"a": 1}, 0)
