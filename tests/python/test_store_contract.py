"""Both stores of aresbus pass the contract that ships with the package; what only ours promise is tested here too."""

import asyncio
from datetime import datetime
from pathlib import Path

import aresbus
import pytest
from aresbus import Event, EventMetadata, EventSnapshot, EventType, FileEventStore, MemoryEventStore
from aresbus.events import utc_now
from aresbus.store import LogEventStore
from aresbus.testing import EventStoreContract


class TestFileEventStore(EventStoreContract):
    def make_store(self, folder: Path) -> FileEventStore:
        return FileEventStore(folder / "store", log_options={"segment_bytes": 1 << 16})

    async def close_store(self, store):
        store.close()


class TestMemoryEventStore(EventStoreContract):
    def make_store(self, folder: Path) -> MemoryEventStore:
        return MemoryEventStore()

    async def close_store(self, store):
        store.close()


class TestDurableFileEventStore(EventStoreContract):
    def make_store(self, folder: Path) -> FileEventStore:
        return FileEventStore(folder / "store", log_options={"durability": "group"})

    async def close_store(self, store):
        store.close()


def run(act):
    return asyncio.run(act)


def test_a_file_store_keeps_events_and_snapshots(tmp_path):
    async def write():
        store = FileEventStore(tmp_path)
        event = Event(EventType.RISK_ALERT, {"level": 3}, EventMetadata(aggregate_id="a"))
        await store.save_event(event)
        await store.save_snapshot(EventSnapshot("s", event.metadata.timestamp, "a", 0, {"level": 3}))
        store.close()
        return event

    async def read():
        store = FileEventStore(tmp_path, mode="r")
        found = await store.get_events(), await store.get_latest_snapshot("a")
        store.close()
        return found

    event = run(write())
    events, snapshot = run(read())
    assert events == [event]
    assert snapshot.state_data == {"level": 3}


def test_making_a_store_touches_nothing(tmp_path):
    store = FileEventStore(tmp_path / "not" / "yet")
    assert not store.is_open
    assert not (tmp_path / "not").exists()


def test_a_closed_store_says_so_and_can_be_opened_again(tmp_path):
    store = FileEventStore(tmp_path)
    run(store.save_event(Event(EventType.RISK_ALERT, 1)))
    store.close()
    store.close()
    with pytest.raises(aresbus.LogClosedError):
        run(store.get_events())
    store.open()
    assert [event.data for event in run(store.get_events())] == [1]
    store.close()


def test_a_dropped_store_releases_its_lock(tmp_path):
    store = FileEventStore(tmp_path)
    run(store.save_event(Event(EventType.RISK_ALERT, 1)))
    del store
    with aresbus.open(tmp_path) as log:
        assert log.last_seq == 0


def test_a_second_store_on_the_same_path_is_refused(tmp_path):
    store = FileEventStore(tmp_path)
    assert store.log.last_seq is None
    with pytest.raises(aresbus.LogLockedError):
        run(FileEventStore(tmp_path).save_event(Event(EventType.RISK_ALERT, 1)))
    store.close()


@pytest.mark.parametrize("make", [FileEventStore, lambda path: MemoryEventStore()])
def test_bytes_are_stored_as_they_are(tmp_path, make):
    store: LogEventStore = make(tmp_path)
    run(store.save_event(Event(EventType.RISK_ALERT, b"\x00\xff")))
    (event,) = run(store.get_events())
    assert event.data == b"\x00\xff"
    assert event.encoding == "bytes"
    assert Event.from_dict(event.to_dict()) == event
    store.close()


def test_a_naive_timestamp_is_refused():
    store = MemoryEventStore()
    naive = datetime(2024, 1, 1)  # noqa: DTZ001 - the subject
    with pytest.raises(ValueError, match="naive"):
        run(store.save_event(Event(EventType.RISK_ALERT, 1, EventMetadata(timestamp=naive))))
    assert run(store.get_events()) == []


def test_data_without_json_form_is_refused_with_its_place():
    store = MemoryEventStore()
    with pytest.raises(aresbus.EncodeError) as caught:
        run(store.save_event(Event(EventType.RISK_ALERT, {"orders": [1, {"qty": object()}]})))
    assert caught.value.value_path == "$.orders[1].qty"


def test_the_stored_time_is_exact_to_the_microsecond():
    store, when = MemoryEventStore(), utc_now()
    run(store.save_event(Event(EventType.RISK_ALERT, 1, EventMetadata(timestamp=when))))
    (event,) = run(store.get_events())
    assert event.metadata.timestamp == when


def test_a_snapshot_whose_event_is_no_longer_there_is_passed_over(tmp_path):
    async def save(path, data):
        store = FileEventStore(path)
        await store.save_event(Event(EventType.RISK_ALERT, data))
        await store.save_snapshot(EventSnapshot("s", utc_now(), "a", 0, {"of": data}))
        store.close()

    run(save(tmp_path / "one", 1))
    run(save(tmp_path / "two", 2))
    for file in (tmp_path / "two" / "snapshots").iterdir():
        file.unlink()
    for file in (tmp_path / "one" / "snapshots").iterdir():
        file.rename(tmp_path / "two" / "snapshots" / file.name)
    store = FileEventStore(tmp_path / "two", mode="r")
    assert run(store.get_latest_snapshot("a")) is None
    store.close()
