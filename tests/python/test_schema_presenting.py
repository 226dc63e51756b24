"""An event in its current form: lazily, purely, with its stored form within reach, and under the reader's policy."""

import copy
import gc
import json
import logging
import pickle
import weakref
from datetime import UTC, datetime

import aresbus
import pytest
from aresbus import Event, EventMetadata, EventVersionManager, ManualClock, UnknownEventTypeError, UpcastError
from aresbus.schema import Presenter
from bus_support import TRADE

ODD = b'{"z":1,"a":[1.50,-0.0,1E+2,123456789012345678901234567890],"\\u00e4":"\\u00df","new":{"b":null,"a":1.10}}'


def ruled(*required, optional=()):
    return {"required_fields": list(required), "optional_fields": list(optional)}


@pytest.fixture
def manager():
    """Orders in four versions: a field is renamed, then one is split in two, then a compatible change."""
    made = EventVersionManager()
    made.register("order", ruled("sym", "qty"), version="1.0.0")

    @made.upcaster("order", "1.0.0", "1.1.0")
    def _rename(data):
        data["symbol"] = data.pop("sym")
        return data

    made.register("order", ruled("symbol", "qty"), version="1.1.0")

    @made.upcaster("order", "1.1.0", "2.0.0")
    def _time(data, metadata):
        return {**data, "at": metadata.timestamp.isoformat()}

    made.register("order", ruled("symbol", "qty", "at"), version="2.0.0")
    made.register("order", ruled("symbol", "qty", "at", optional=["note"]), version="2.1.0")
    return made


def stored(folder, *events, **keywords):
    """Append (type, data, version) and read it all back."""
    with aresbus.open(folder / "log", **keywords) as log:
        for event_type, data, version in events:
            log.append(event_type, data, schema_version=version, source="test", tags={"k": "v"})
        return list(log.read())


def test_an_event_that_is_current_is_returned_itself(manager, tmp_path):
    (event,) = stored(tmp_path, ("order", {"symbol": "X", "qty": 1, "at": "now"}, "2.1.0"))
    presenter = manager.presenter()
    assert presenter.present(event) is event
    assert presenter.upcast_count == 0


def test_an_old_event_is_brought_along_the_whole_chain_and_stays_as_it_is(manager, tmp_path):
    (event,) = stored(tmp_path, ("order", {"sym": "X", "qty": 1}, "1.0.0"))
    shown = manager.presenter().present(event)
    assert shown.data == {"symbol": "X", "qty": 1, "at": event.metadata.timestamp.isoformat()}
    assert shown.metadata.schema_version == "2.1.0"
    assert (shown.event_type, shown.event_id, shown.source, shown.metadata.tags) == (
        event.event_type,
        event.event_id,
        "test",
        {"k": "v"},
    )
    assert (event.data, event.schema_version) == ({"sym": "X", "qty": 1}, "1.0.0")
    assert event.raw == b'{"sym":"X","qty":1}'
    assert manager.validate_event_schema(shown)


def test_the_stored_form_stays_within_reach(manager, tmp_path):
    (event,) = stored(tmp_path, ("order", {"sym": "X", "qty": 1}, "1.0.0"))
    shown = manager.presenter().present(event)
    assert (shown.seq, shown.raw, shown.part) == (event.seq, event.raw, None)
    assert shown.stored.data == event.data


def test_a_compatible_change_gives_the_new_version_alone(manager, tmp_path):
    (event,) = stored(tmp_path, ("order", {"symbol": "X", "qty": 1, "at": "t"}, "2.0.0"))
    shown = manager.presenter().present(event)
    assert shown.metadata.schema_version == "2.1.0"
    assert shown.data == event.data


def test_a_step_cannot_change_what_is_stored(tmp_path):
    manager = EventVersionManager()
    manager.register("t", {}, version="1.0.0")

    @manager.upcaster("t", "1.0.0", "2.0.0")
    def _spoil(data):
        data["list"].append("spoilt")
        data.clear()
        return {"ok": True}

    manager.register("t", {}, version="2.0.0")
    (event,) = stored(tmp_path, ("t", {"list": [1]}, "1.0.0"))
    own = Event("t", {"list": [1]}, EventMetadata())
    for one in (event, own):
        assert one.data == {"list": [1]}
        assert manager.presenter().present(one).data == {"ok": True}
        assert manager.migrate_event(one, "2.0.0").data == {"ok": True}
        assert one.data == {"list": [1]}


def test_presenting_twice_gives_the_same_twice(manager, tmp_path):
    events = stored(tmp_path, *[("order", {"sym": "X", "qty": at}, "1.0.0") for at in range(5)])
    first = [event.to_dict() for event in manager.read_as_current(events)]
    assert first == [event.to_dict() for event in manager.read_as_current(events)]


def test_reading_as_current_is_lazy(manager, tmp_path):
    def endless():
        while True:
            yield Event("order", {"sym": "X", "qty": 1}, EventMetadata())

    assert next(manager.read_as_current(endless())).data["symbol"] == "X"


# Splits and renames


def test_a_split_gives_its_parts_in_order(tmp_path):
    manager = EventVersionManager()
    manager.register("fills", {}, version="1.0.0")

    @manager.upcaster("fills", "1.0.0", "2.0.0")
    def _split(data):
        return [{**data, "qty": qty} for qty in data["qtys"]]

    manager.register("fills", {}, version="2.0.0")

    @manager.upcaster("fills", "2.0.0", "3.0.0")
    def _mark(data):
        data["shared"].append(data["qty"])
        return data

    manager.register("fills", {}, version="3.0.0")
    (event,) = stored(tmp_path, ("fills", {"qtys": [3, 4], "shared": []}, "1.0.0"))
    parts = manager.presenter().present(event)
    assert isinstance(parts, tuple)
    assert [part.data["qty"] for part in parts] == [3, 4]
    assert [part.data["shared"] for part in parts] == [[3], [4]]
    assert {part.event_id for part in parts} == {event.event_id}
    assert [part.data["qty"] for part in manager.read_as_current([event, event])] == [3, 4, 3, 4]
    with pytest.raises(UpcastError, match="becomes 2 events"):
        manager.migrate_event(event, "3.0.0")


def test_a_rename_gives_the_new_type_and_its_current_version(tmp_path):
    manager = EventVersionManager()
    manager.register("deal", ruled("px"), version="1.0.0")
    manager.register("bargain", ruled("price"), version="4.0.0")

    @manager.upcaster("deal", "1.0.0", "4.0.0", new_type="bargain")
    def _rename(data):
        return {"price": data["px"]}

    manager.register("bargain", ruled("price", optional=["fee"]), version="4.1.0")
    (event,) = stored(tmp_path, ("deal", {"px": 1.5}, "1.0.0"))
    shown = manager.presenter().present(event)
    assert (shown.event_type, shown.data) == ("bargain", {"price": 1.5})
    assert shown.event_type is aresbus.register_event_type("bargain")
    assert shown.metadata.schema_version == "4.1.0"
    assert manager.migrate_event(event, "4.1.0").event_type == "bargain"


def test_the_events_of_a_type_are_stored_under_every_name_it_had(tmp_path):
    manager = EventVersionManager()
    for text in ("first", "second", "third", "apart"):
        manager.register(text, {}, version="1.0.0")
    manager.upcaster("first", "1.0.0", "1.0.0", new_type="second")(dict)
    manager.upcaster("second", "1.0.0", "1.0.0", new_type="third")(dict)
    events = stored(tmp_path, *[(text, {}, "1.0.0") for text in ("first", "apart", "second", "third")])
    assert manager.stored_types("third") == ["third", "second", "first"]
    assert manager.stored_types("apart") == ["apart"]
    with aresbus.open(tmp_path / "log", mode="r") as log:
        shown = list(manager.read_as_current(log.read(types=manager.stored_types("third"))))
    assert [event.event_id for event in shown] == [events[at].event_id for at in (0, 2, 3)]
    assert {event.event_type for event in shown} == {"third"}


def test_what_is_registered_later_counts_for_a_presenter_that_is_there(manager, tmp_path):
    (event,) = stored(tmp_path, ("order", {"symbol": "X", "qty": 1, "at": "t"}, "2.1.0"))
    presenter = manager.presenter()
    assert presenter.present(event) is event
    manager.upcaster("order", "2.1.0", "3.0.0")(lambda data: {**data, "three": True})
    assert presenter.present(event) is event
    manager.register("order", {}, version="3.0.0")
    assert presenter.present(event).data["three"] is True


def test_built_in_types_stay_at_1_0_0_until_set(tmp_path):
    manager = EventVersionManager()
    old, new = stored(
        tmp_path, ("trade_executed", TRADE, "1.0.0"), ("trade_executed", {**TRADE, "order_id": 7}, "1.1.0")
    )
    presenter = manager.presenter()
    assert presenter.present(old) is old
    assert presenter.present(new) is new
    manager.set_current("trade_executed", "1.1.0")
    assert presenter.present(old).data == {**TRADE, "order_id": None}
    assert presenter.present(new) is new


# What is newer, or unknown


def newer(folder):
    return stored(folder, ("order", {"symbol": "X", "amount": 1}, "9.0.0"))[0]


def test_a_newer_version_stays_readable(manager, tmp_path):
    event = newer(tmp_path)
    assert manager.presenter().present(event) is event
    assert list(manager.read_as_current([event])) == [event]
    assert event.data == {"symbol": "X", "amount": 1}


def test_a_newer_version_is_skipped_counted_and_said_once(manager, tmp_path, caplog):
    event = newer(tmp_path)
    presenter = manager.presenter("skip")
    with caplog.at_level(logging.WARNING, "aresbus"):
        assert presenter.present(event) == ()
        assert presenter.present(event) == ()
    assert presenter.skipped_count == 2
    assert [record.name for record in caplog.records] == ["aresbus.schema.presenting"]
    assert "9.0.0" in caplog.text


@pytest.mark.parametrize("policy", ["park", "halt"])
def test_a_newer_version_is_an_error_that_says_where(manager, tmp_path, policy):
    event = newer(tmp_path)
    with pytest.raises(UpcastError, match=r"known here are 1\.0\.0, 1\.1\.0, 2\.0\.0, 2\.1\.0") as caught:
        manager.presenter(policy).present(event)
    error = caught.value
    assert (error.from_version, error.to_version) == ("9.0.0", "2.1.0")
    assert (error.seq, error.event_id) == (0, event.event_id)


def test_parked_events_are_handed_over_with_their_reason(manager, tmp_path):
    good, bad, worse = stored(
        tmp_path,
        ("order", {"sym": "X", "qty": 1}, "1.0.0"),
        ("order", {}, "9.0.0"),
        ("order", {"qty": 1}, "1.0.0"),
    )
    parked = []
    shown = list(manager.read_as_current([good, bad, worse], "park", aside=lambda *both: parked.append(both)))
    assert [event.event_id for event in shown] == [good.event_id]
    assert [event for event, _ in parked] == [bad, worse]
    assert isinstance(parked[1][1].__cause__, KeyError)


def test_a_step_back_makes_a_newer_event_old(manager, tmp_path):
    manager.downcaster("order", "9.0.0", "2.1.0")(lambda data: {"symbol": data["symbol"], "qty": 1, "at": ""})
    event = newer(tmp_path)
    for policy in ("raw", "skip", "park", "halt"):
        shown = manager.presenter(policy).present(event)
        assert shown.data == {"symbol": "X", "qty": 1, "at": ""}
        assert shown.metadata.schema_version == "2.1.0"
    manager.version_mappings["9.0.0"] = {"order": ruled()}
    assert manager.migrate_event(event, "2.1.0").data == {"symbol": "X", "qty": 1, "at": ""}


@pytest.mark.parametrize("version", ["0.1.0", "1.0.5", "nonsense", "99999999999999999999.0"])
def test_a_version_that_nobody_registered_is_unknown_whatever_its_number(manager, tmp_path, version):
    (event,) = stored(tmp_path, ("order", {}, version))
    assert manager.presenter().present(event) is event
    with pytest.raises(UpcastError):
        manager.presenter("halt").present(event)


def test_a_type_that_nobody_registered_is_delivered_as_text_or_by_policy(manager, tmp_path):
    (event,) = stored(tmp_path, ("never heard of", {"a": 1}, "1.0.0"))
    shown = manager.presenter().present(event)
    assert shown is event
    assert type(shown.event_type) is str
    assert manager.presenter("skip").present(event) == ()
    with pytest.raises(UnknownEventTypeError):
        manager.presenter("halt").present(event)


def test_a_known_type_of_which_nothing_is_declared_has_no_unknown_version(manager, tmp_path):
    first, second = stored(tmp_path, ("risk_alert", {}, "1.0.0"), ("risk_alert", {}, "7.0.0"))
    presenter = manager.presenter("halt")
    assert presenter.present(first) is first
    assert presenter.present(second) is second


def test_unknown_policies_and_a_park_without_a_place_are_refused(manager):
    with pytest.raises(ValueError, match="raw, skip, park, halt"):
        Presenter(manager, "ignore")
    with pytest.raises(ValueError, match="aside="):
        manager.read_as_current([], "park")
    with pytest.raises(ValueError, match="aside="):
        manager.read_as_current([], "raw", aside=print)


@pytest.mark.parametrize("encoding", ["json", "bytes"])
def test_what_a_newer_writer_said_survives_a_republish_byte_for_byte(manager, tmp_path, encoding):
    with aresbus.open(tmp_path / "log") as log:
        log.append_bytes("order", ODD, encoding=encoding, schema_version="9.0.0")
        (event,) = manager.read_as_current(log.read())
        log.append_bytes(event.event_type, event.raw, encoding=encoding, schema_version=event.schema_version)
        first, second = log.read()
    assert first.raw == second.raw == ODD
    assert first.schema_version == second.schema_version == "9.0.0"
    assert second.data == first.data


# Steps that fail


def failing(function, folder, data=None):
    manager = EventVersionManager()
    manager.register("t", {}, version="1.0.0")
    manager.upcaster("t", "1.0.0", "2.0.0")(function)
    manager.register("t", {}, version="2.0.0")
    return manager, stored(folder, ("t", {"a": 1} if data is None else data, "1.0.0"))[0]


def boom(data):
    return data["missing"]


@pytest.mark.parametrize("policy", ["raw", "park", "halt"])
def test_a_failing_step_says_type_versions_position_and_cause(tmp_path, policy):
    manager, event = failing(boom, tmp_path)
    with pytest.raises(UpcastError, match=r"boom\) raised KeyError: 'missing'") as caught:
        manager.presenter(policy).present(event)
    error = caught.value
    assert (error.event_type, error.from_version, error.to_version) == ("t", "1.0.0", "2.0.0")
    assert (error.seq, error.event_id) == (0, event.event_id)
    assert isinstance(error.__cause__, KeyError)
    assert pickle.loads(pickle.dumps(error)).seq == 0
    assert event.data == {"a": 1}


def test_a_reader_that_skips_skips_failures_too(tmp_path):
    manager, event = failing(boom, tmp_path)
    presenter = manager.presenter("skip")
    assert list(presenter.each([event, event])) == []
    assert presenter.skipped_count == 2


@pytest.mark.parametrize("result", [None, [], [{}, 1], "text", (1,), 7])
def test_a_step_that_returns_no_data_failed(tmp_path, result):
    manager, event = failing(lambda data: result, tmp_path)
    with pytest.raises(UpcastError, match="returns a dict"):
        manager.presenter().present(event)


@pytest.mark.parametrize("data", [[1], "text", 5])
def test_data_that_is_no_dict_cannot_be_upcast(tmp_path, data):
    manager, event = failing(dict, tmp_path, data)
    with pytest.raises(UpcastError, match="its data is no dict"):
        manager.presenter().present(event)


def test_ctrl_c_in_a_step_is_no_failure_of_the_step(tmp_path):
    def interrupted(data):
        raise KeyboardInterrupt

    manager, event = failing(interrupted, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        manager.presenter("skip").present(event)


# Six versions of one type over five years

START = datetime(2019, 1, 1, tzinfo=UTC)
YEAR_NS = 365 * 86_400 * 1_000_000_000
PER_YEAR = 40


def six_versions():
    """The registry of a bot that has changed its mind five times."""
    manager = EventVersionManager()
    manager.register("fill", ruled("sym", "px", "qty"), version="1.0.0")
    steps = {
        "1.1.0": lambda data: {**data, "venue": "unknown"},
        "1.9.0": lambda data: {"symbol": data.pop("sym"), **data},
        "1.10.0": lambda data: {**{k: v for k, v in data.items() if k != "px"}, "price": float(data["px"])},
        "2.0.0": lambda data, metadata: {**data, "at": metadata.timestamp.isoformat()},
        "2.1.0": lambda data: {**data, "notional": data["price"] * data["qty"]},
    }
    fields = {
        "1.1.0": ruled("sym", "px", "qty", "venue"),
        "1.9.0": ruled("symbol", "px", "qty", "venue"),
        "1.10.0": ruled("symbol", "price", "qty", "venue"),
        "2.0.0": ruled("symbol", "price", "qty", "venue", "at"),
        "2.1.0": ruled("symbol", "price", "qty", "venue", "at", "notional"),
    }
    before = "1.0.0"
    for version, step in steps.items():
        manager.upcaster("fill", before, version)(step)
        manager.register("fill", fields[version], version=version)
        before = version
    return manager


def five_years(folder, manager):
    """A log with a fill every nine days; each year, and once within the last, the bot writes the next version."""
    clock = ManualClock(int(START.timestamp()) * 1_000_000_000)
    data = {"sym": "BTCUSDT", "px": "100.5", "qty": 2}
    with aresbus.open(folder, clock=clock, segment_bytes=1 << 20) as log:
        for at in range(5 * PER_YEAR):
            version = manager.versions("fill")[at * 6 // (5 * PER_YEAR)]
            event = Event("fill", copy.deepcopy(data), EventMetadata(timestamp=START))
            written = manager.migrate_event(event, version) if version != "1.0.0" else event
            log.append("fill", written.data, schema_version=version, aggregate_id="BTCUSDT")
            clock.advance_ns(YEAR_NS // PER_YEAR)


def test_six_versions_over_five_years_are_read_with_one_call(tmp_path):
    manager = six_versions()
    five_years(tmp_path / "log", manager)
    with aresbus.open(tmp_path / "log", mode="r") as log:
        raw = list(log.read())
        years = {event.metadata.timestamp.year for event in raw}
        assert years == {2019, 2020, 2021, 2022, 2023}
        assert manager.versions("fill") == [
            "1.0.0", "1.1.0", "1.9.0", "1.10.0", "2.0.0", "2.1.0",
        ]  # fmt: skip
        assert {event.schema_version for event in raw} == set(manager.versions("fill"))
        shown = list(manager.read_as_current(log.read(), "halt"))
    assert len(shown) == len(raw) == 5 * PER_YEAR
    assert all(event.metadata.schema_version == "2.1.0" for event in shown)
    assert all(manager.problems("fill", event.data, "2.1.0") == [] for event in shown)
    assert {(event.data["symbol"], event.data["price"], event.data["notional"]) for event in shown} == {
        ("BTCUSDT", 100.5, 201.0)
    }
    assert [event.event_id for event in shown] == [event.event_id for event in raw]


def test_six_versions_are_folded_and_migrated_with_one_call(tmp_path):
    manager = six_versions()
    five_years(tmp_path / "old", manager)
    with aresbus.open(tmp_path / "old", mode="r") as old, aresbus.open(tmp_path / "new") as new:
        total = sum(event.data["notional"] for event in manager.read_as_current(old.read()))
        new.append_many(
            {"event_type": event.event_type, "data": event.data, "schema_version": "2.1.0"}
            for event in manager.read_as_current(old.read())
        )
        migrated = list(new.read())
    assert total == 201.0 * 5 * PER_YEAR
    assert {event.schema_version for event in migrated} == {"2.1.0"}
    assert [json.loads(event.raw)["notional"] for event in migrated] == [201.0] * (5 * PER_YEAR)


def test_presenting_keeps_nothing_alive(manager, tmp_path):
    events = stored(tmp_path, *[("order", {"sym": "X", "qty": at}, "1.0.0") for at in range(3)])
    presenter = manager.presenter()
    shown = [presenter.present(event) for event in events]
    alive = [weakref.ref(event) for event in events + shown]
    del events, shown
    gc.collect()
    assert [one() for one in alive] == [None] * 6
