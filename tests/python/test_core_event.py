"""Event: a dataclass in all but its making. Fields made at the first touch, copies, pickles, equality, collection."""

import copy
import dataclasses
import gc
import inspect
import json
import multiprocessing
import operator
import pickle
import subprocess
import sys
import threading
import weakref

import orjson
import pytest
from aresbus import _core
from aresbus.events import Event, EventMetadata, EventStatus, EventType, register_event_type


@pytest.fixture
def log():
    with _core.Log(None) as log:
        yield log


@pytest.fixture
def stored(log):
    """An event read from a log, untouched."""
    log.append(
        "trade_executed",
        {"price": 1.5, "legs": [1, 2]},
        source="desk",
        aggregate_id="a",
        correlation_id="c",
        causation_id="d",
        tags={"k": "v"},
        event_id="my id",
        event_time_ns=1_700_000_000_000_000_000,
        schema_version="1.1.0",
    )
    return next(log.read())


class Mine(Event):
    """A user's own event class."""

    __slots__ = ("__dict__", "note")

    def double(self):
        return self.data * 2


class TestMade:
    """Events that users make."""

    def test_takes_three_fields(self):
        metadata = EventMetadata(source="s")
        data = {"a": 1}
        event = Event(EventType.RISK_ALERT, data, metadata)
        assert event.event_type is EventType.RISK_ALERT
        assert event.data is data
        assert event.metadata is metadata
        assert Event(event_type="t", data=None).metadata.event_id

    def test_metadata_is_made_at_once_where_none_is_given(self):
        one, two = Event("t", 1), Event("t", 1)
        assert isinstance(one.metadata, EventMetadata)
        assert one.metadata is one.metadata
        assert one.metadata.event_id != two.metadata.event_id

    def test_has_no_place_in_any_log(self):
        event = Event("t", 1)
        names = [
            "raw",
            "seq",
            "aggregate_version",
            "aggregate_prev",
            "ts_ns",
            "event_time_ns",
            "encoding",
            "epoch",
        ]
        assert {getattr(event, name) for name in [*names, "schema_valid"]} == {None}
        assert (event.lossy, event.is_replay) == (False, False)

    def test_facts_are_those_of_its_metadata(self):
        metadata = EventMetadata(
            event_id="e",
            source="s",
            correlation_id="c",
            causation_id="d",
            aggregate_id="a",
            schema_version="9.0.0",
            tags={"k": "v"},
        )
        event = Event("t", 1, metadata)
        names = [
            "event_id",
            "source",
            "correlation_id",
            "causation_id",
            "aggregate_id",
            "schema_version",
            "tags",
        ]
        assert [getattr(event, name) for name in names] == ["e", "s", "c", "d", "a", "9.0.0", {"k": "v"}]
        assert event.tags is not metadata.tags
        event.metadata = EventMetadata(event_id="other")
        assert event.event_id == "other"

    def test_fields_may_be_assigned_and_not_deleted(self):
        event = Event("t", 1)
        event.event_type, event.data = "u", [2]
        assert (event.event_type, event.data) == ("u", [2])
        for name in ("event_type", "data", "metadata"):
            with pytest.raises((AttributeError, TypeError)):
                delattr(event, name)

    @pytest.mark.parametrize("arguments", [(), ("t",), ("t", 1, None, 4)])
    def test_refuses_other_arguments(self, arguments):
        with pytest.raises(TypeError):
            Event(*arguments)


class TestStored:
    """Events that come from a log."""

    def test_every_fact(self, stored):
        names = [
            *("seq", "event_id", "aggregate_id", "aggregate_version", "aggregate_prev", "source"),
            *("correlation_id", "causation_id", "schema_version", "tags", "event_time_ns", "encoding"),
        ]
        expected = [
            0,
            "my id",
            "a",
            0,
            None,
            "desk",
            "c",
            "d",
            "1.1.0",
            {"k": "v"},
            1_700_000_000_000_000_000,
            "json",
        ]
        assert [getattr(stored, name) for name in names] == expected
        assert stored.raw == orjson.dumps(stored.data)

    def test_data_and_metadata_are_made_once(self, stored):
        assert stored.data is stored.data == {"price": 1.5, "legs": [1, 2]}
        assert stored.metadata is stored.metadata
        assert stored.metadata.tags is not stored.tags
        assert stored.event_type is EventType.TRADE_EXECUTED

    def test_metadata_says_what_the_record_says(self, stored):
        metadata = stored.metadata
        assert (metadata.event_id, metadata.source, metadata.sequence_number) == ("my id", "desk", 0)
        assert metadata.timestamp.timestamp() == 1_700_000_000
        assert metadata.status is EventStatus.PENDING

    def test_assigning_changes_the_object_not_the_record(self, log, stored):
        stored.data = "other"
        stored.event_type = "other"
        stored.metadata = EventMetadata(event_id="other")
        assert (stored.data, stored.event_type, stored.metadata.event_id) == ("other", "other", "other")
        assert (stored.event_id, stored.source) == ("my id", "desk")
        assert orjson.loads(stored.raw) == {"price": 1.5, "legs": [1, 2]}
        assert next(log.read()).data == {"price": 1.5, "legs": [1, 2]}

    def test_outlives_its_log(self, log, stored):
        log.close()
        del log
        gc.collect()
        assert stored.data["price"] == 1.5

    def test_a_type_registered_later_shows(self, log):
        log.append("core_event_registered_later", 1)
        early, late = next(log.read()), next(log.read())
        assert type(early.event_type) is str
        kind = register_event_type("core_event_registered_later")
        assert late.event_type is kind

    def test_a_first_touch_in_many_threads_gives_one_object(self, log):
        log.append("t", {"a": [0] * 1000})
        for event in [next(log.read()) for _ in range(50)]:
            found, barrier = [], threading.Barrier(4)

            def touch(event=event, found=found, barrier=barrier):
                barrier.wait()
                found.append((event.data, event.metadata, event.event_type))

            threads = [threading.Thread(target=touch) for _ in range(4)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            assert len({(id(data), id(metadata), id(kind)) for data, metadata, kind in found}) == 1


class TestStatus:
    """The bus's view of a delivery."""

    @pytest.mark.parametrize("touch_first", [True, False])
    def test_becomes_the_metadata_s(self, stored, touch_first):
        assert stored._status() is EventStatus.PENDING
        if touch_first:
            assert stored.metadata.status is EventStatus.PENDING
        stored._set_status(EventStatus.PROCESSED)
        assert stored._status() is EventStatus.PROCESSED
        assert stored.metadata.status is EventStatus.PROCESSED
        stored.metadata.status = EventStatus.FAILED
        assert stored._status() is EventStatus.FAILED

    def test_of_a_made_event_is_its_metadata_s(self):
        event = Event("t", 1, EventMetadata(status=EventStatus.RETRYING))
        assert event._status() is EventStatus.RETRYING

    def test_a_replayed_event_says_so(self, stored):
        assert not stored.is_replay
        stored._set_replay()
        assert stored.is_replay
        assert pickle.loads(pickle.dumps(stored)).is_replay


class TestDataclass:
    """What a dataclass can do."""

    def test_functions_of_dataclasses(self, stored):
        assert dataclasses.is_dataclass(stored)
        assert [field.name for field in dataclasses.fields(stored)] == ["event_type", "data", "metadata"]
        assert dataclasses.asdict(stored)["data"] == stored.data
        replaced = dataclasses.replace(stored, data=5)
        assert (replaced.data, replaced.event_type, replaced.seq) == (5, stored.event_type, None)
        assert replaced.metadata is stored.metadata

    def test_matches(self, stored):
        match stored:
            case Event(EventType.TRADE_EXECUTED, {"price": price}, EventMetadata(source=source)):
                assert (price, source) == (1.5, "desk")
            case _:
                pytest.fail("no match")

    def test_equality_is_that_of_the_fields(self, log, stored):
        twin = next(log.read())
        assert stored == twin
        assert not stored != twin  # noqa: SIM202 - the other operator is what is tested
        twin.data = 5
        assert stored != twin
        made = Event(stored.event_type, stored.data, stored.metadata)
        assert stored == made
        assert made != Mine(stored.event_type, stored.data, stored.metadata)
        assert made != (made.event_type, made.data, made.metadata)
        nan = float("nan")
        assert Event("t", nan, made.metadata) == Event("t", nan, made.metadata)

    def test_has_neither_hash_nor_order(self, stored):
        assert Event.__hash__ is None
        with pytest.raises(TypeError, match="unhashable"):
            hash(stored)
        with pytest.raises(TypeError):
            stored < stored  # noqa: B015, PLR0124 - the operator is what is tested

    def test_dict_and_back(self, stored):
        as_dict = stored.to_dict()
        assert json.loads(json.dumps(as_dict)) == as_dict
        again = Event.from_dict(as_dict)
        assert again == stored
        assert type(Mine.from_dict(as_dict)) is Mine
        with pytest.raises(KeyError):
            Event.from_dict({})

    def test_repr_is_short_and_decodes_nothing(self, log):
        log.append_bytes("odd", b"[" + b"1," * 100_000 + b"1]", encoding="json")
        event = next(log.read())
        assert repr(event) == f"<Event odd seq=0 id={event.event_id}>"
        made = Event("t", {}, EventMetadata(event_id="e"))
        assert repr(made) == "<Event t id=e>"
        assert repr(Mine(EventType.RISK_ALERT, 1, EventMetadata(event_id="e"))) == "<Mine risk_alert id=e>"
        assert repr(Event("t", {}, object())) == "<Event t>"

    def test_signature(self):
        assert str(inspect.signature(Event)) == "(event_type, data, metadata=None)"


class TestCopies:
    """Copies and pickles keep the fields, the place in the log, and what subclasses add."""

    ways = pytest.mark.parametrize(
        "again",
        [copy.copy, copy.deepcopy]
        + [
            lambda event, at=at: pickle.loads(pickle.dumps(event, at))
            for at in range(2, pickle.HIGHEST_PROTOCOL + 1)
        ],
        ids=["copy", "deepcopy", *(f"pickle {at}" for at in range(2, pickle.HIGHEST_PROTOCOL + 1))],
    )

    @ways
    @pytest.mark.parametrize("touched", [True, False])
    def test_of_a_stored_event(self, stored, again, touched):
        if touched:
            stored.metadata.tags["mine"] = "too"
            stored.data["mine"] = 1
            stored._set_status(EventStatus.FAILED)
        twin = again(stored)
        names = [name for name in dir(Event) if not name.startswith("_")]
        facts = [name for name in names if not callable(getattr(Event, name))]
        assert {name: getattr(twin, name) for name in facts} == {
            name: getattr(stored, name) for name in facts
        }
        assert twin == stored
        assert twin._status() == stored._status()
        assert twin.event_type is stored.event_type

    @ways
    def test_of_a_published_event(self, log, again):
        live = log._publish(
            "t",
            {"a": 1},
            "s",
            "c",
            None,
            "a",
            {"k": "v"},
            None,
            5,
            None,
            _core.Expected.ANY,
            True,
        )
        twin = again(live)
        assert twin == live
        assert (twin.seq, twin.raw, twin.tags, twin.schema_valid) == (0, live.raw, {"k": "v"}, True)

    @ways
    def test_of_a_subclass_with_attributes_and_a_cycle(self, again):
        event = Mine("t", {})
        event.note, event.other = "slot", "attribute"
        event.data["me"] = event
        twin = again(event)
        assert (type(twin), twin.note, twin.other) == (Mine, "slot", "attribute")
        assert twin.data["me"] is (event if again is copy.copy else twin)

    def test_a_shallow_copy_shares_and_a_deep_one_does_not(self, stored):
        shallow, deep = copy.copy(stored), copy.deepcopy(stored)
        assert shallow.data is stored.data
        assert shallow.metadata is stored.metadata
        assert deep.data is not stored.data
        shallow.data = 5
        assert stored.data != 5

    def test_untouched_data_travels_once(self, log):
        log.append("t", ["x" * 1000] * 100)
        assert len(pickle.dumps(next(log.read()))) < 110_000

    def test_across_spawn(self, stored):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seen = operator.attrgetter("data", "seq", "raw", "metadata.source", "event_type")
            assert pool.apply(seen, (stored,)) == (stored.data, 0, stored.raw, "desk", "trade_executed")
            assert pool.apply(copy.deepcopy, (stored,)) == stored

    def test_a_pickle_needs_no_import_of_the_receiver_s(self, stored):
        code = "import sys, pickle; e = pickle.load(sys.stdin.buffer); print(e, e.data, e.metadata.source)"
        done = subprocess.run(
            [sys.executable, "-c", code], input=pickle.dumps(stored), capture_output=True, check=True
        )
        assert b"<Event trade_executed seq=0 id=my id>" in done.stdout

    def test_a_forged_pickle_is_an_error(self):
        for facts in ({}, {"seq": -1}, 5):
            with pytest.raises((TypeError, KeyError, OverflowError)):
                _core._restore_event(Event, facts)
        with pytest.raises(TypeError):
            _core._restore_event(int, None)


class TestMemory:
    """Weak references and garbage collection."""

    def test_weak_references(self, stored):
        for event in (stored, Event("t", 1), Mine("t", 1)):
            assert weakref.ref(event)() is event

    @pytest.mark.parametrize("slot", ["data", "metadata", "event_type", "status"])
    def test_cycles_are_collected(self, log, slot):
        for kind in (Event, Mine):
            event, holder = kind("t", 1), type("Holder", (), {})()
            holder.event = event
            if slot == "status":
                event.metadata = EventMetadata()
                event._set_status(holder)
            else:
                setattr(event, slot, holder)
            gone = weakref.ref(event)
            del event, holder
            gc.collect()
            assert gone() is None

    def test_a_cleared_event_is_still_safe_to_touch(self):
        class Watcher:
            """Sees the event while the collector takes its cycle apart."""

            def __del__(self):
                seen.append((repr(self.event), self.event.data))

        seen = []
        watcher = Watcher()
        watcher.event = Event("t", watcher)
        del watcher
        gc.collect()
        assert len(seen) == 1

    def test_events_hold_nothing_but_their_bytes(self, log):
        log.append_many([("t", {"a": at}) for at in range(1000)])
        gc.collect()
        before = len(gc.get_objects())
        for event in log.read():
            event.data, event.metadata  # noqa: B018 - the touch is what is tested
        del event
        gc.collect()
        assert len(gc.get_objects()) - before < 50
