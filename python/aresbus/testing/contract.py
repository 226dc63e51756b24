"""The contract of an event store as a test suite: subclass it, make your store, run pytest.

Owns what every IEventStore promises to a bus, and nothing that only ours can do. Each test runs on a loop of its own
and gets a new, empty store. Needs no plugin.
"""
# ruff: noqa: S101, PLR2004 - asserts and literal expectations are what a test suite is made of

import asyncio
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from aresbus.events import Event, EventMetadata, EventSnapshot, EventType
from aresbus.store import IEventStore

__all__ = ["EventStoreContract"]

WHEN = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC)
DATA: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "price": 61250.5,
    "tiny": 5e-324,
    "big": 2**63 - 1,
    "flags": [True, False, None],
    "nested": {"ü": "\N{SNOWMAN}", "": []},
}


class EventStoreContract(ABC):
    """Subclass it as ``class TestMyStore(EventStoreContract)`` and implement :meth:`make_store`."""

    @abstractmethod
    def make_store(self, folder: Path) -> IEventStore:
        """A new, empty store; ``folder`` is empty and goes when the test ends."""

    async def close_store(self, store: IEventStore) -> None:  # noqa: B027 - most stores hold nothing
        """Release what the store holds; nothing by default."""

    def _run(self, test: Callable[[IEventStore], Awaitable[None]]) -> None:
        async def with_store() -> None:
            with tempfile.TemporaryDirectory() as folder:
                store = self.make_store(Path(folder))
                try:
                    await test(store)
                finally:
                    await self.close_store(store)

        asyncio.run(with_store())

    def test_an_empty_store_has_nothing(self) -> None:
        """No events and no snapshot, and asking is no error."""

        async def test(store: IEventStore) -> None:
            assert await store.get_events() == []
            assert await store.get_events("a", 3, 5, [EventType.RISK_ALERT]) == []
            assert await store.get_latest_snapshot("a") is None

        self._run(test)

    def test_saving_says_so_and_writes_the_position_back(self) -> None:
        """Positions rise by one from event to event."""

        async def test(store: IEventStore) -> None:
            events = [_event(n) for n in range(3)]
            assert [await store.save_event(event) for event in events] == [True] * 3
            first = events[0].metadata.sequence_number
            assert [event.metadata.sequence_number - first for event in events] == [0, 1, 2]

        self._run(test)

    def test_a_saved_event_returns_as_it_was(self) -> None:
        """Type, data and metadata; status and retry count are the bus's and no part of it."""

        async def test(store: IEventStore) -> None:
            metadata = EventMetadata(
                event_id="order 17/ü",
                version="1.2.0",
                schema_version="1.1.0",
                timestamp=WHEN.astimezone(timezone(timedelta(hours=5))),
                source="strategy",
                correlation_id="c-1",
                causation_id="b7f3c1de-0000-4000-8000-000000000001",
                aggregate_id="order-17",
                tags={"desk": "a", "": "empty"},
            )
            event = Event(EventType.TRADE_EXECUTED, DATA, metadata)
            await store.save_event(event)
            (returned,) = await store.get_events()
            assert returned == event
            assert isinstance(returned.event_type, EventType)
            assert returned.metadata.timestamp.utcoffset() is not None

        self._run(test)

    def test_any_json_is_data(self) -> None:
        """Also what is no dict."""

        async def test(store: IEventStore) -> None:
            values: list[Any] = [None, True, 0, -1.5, "text", [], {}, [[{"a": [1]}]]]
            for value in values:
                await store.save_event(Event(EventType.RISK_ALERT, value))
            assert [event.data for event in await store.get_events()] == values

        self._run(test)

    def test_both_ends_of_a_range_are_inclusive(self) -> None:
        """By sequence number, in order, and a range beyond the end is no error."""

        async def test(store: IEventStore) -> None:
            positions = await _save(store, [_event(n) for n in range(10)])
            assert await _numbers(store) == list(range(10))
            assert await _numbers(store, None, positions[3]) == [3, 4, 5, 6, 7, 8, 9]
            assert await _numbers(store, None, positions[3], positions[5]) == [3, 4, 5]
            assert await _numbers(store, None, positions[4], positions[4]) == [4]
            assert await _numbers(store, None, positions[9] + 1) == []
            assert await _numbers(store, None, positions[5], positions[3]) == []
            assert await _numbers(store, None, 0, positions[9] + 100) == list(range(10))

        self._run(test)

    def test_aggregates_and_types_select(self) -> None:
        """Each alone, both together, with a range; no types select nothing."""

        async def test(store: IEventStore) -> None:
            kinds = [EventType.RISK_ALERT, EventType.TRADE_EXECUTED, EventType.SYSTEM_ERROR]
            events = [_event(n, kinds[n % 3], f"order-{n % 2}") for n in range(12)]
            positions = await _save(store, events)
            assert await _numbers(store, "order-1") == [1, 3, 5, 7, 9, 11]
            assert await _numbers(store, "order-2") == []
            assert await _numbers(store, None, 0, None, [kinds[0]]) == [0, 3, 6, 9]
            assert await _numbers(store, None, 0, None, [kinds[0], "system_error"]) == [
                0,
                2,
                3,
                5,
                6,
                8,
                9,
                11,
            ]
            assert await _numbers(store, "order-1", positions[2], positions[9], [kinds[0]]) == [3, 9]
            assert await _numbers(store, None, 0, None, []) == []

        self._run(test)

    def test_the_latest_snapshot_is_that_of_the_highest_position(self) -> None:
        """Per aggregate, whatever the order they were saved in, as it was."""

        async def test(store: IEventStore) -> None:
            positions = await _save(store, [_event(n) for n in range(3)])
            for position in (positions[1], positions[2], positions[0]):
                assert await store.save_snapshot(_snapshot("a", position)) is True
            assert await store.save_snapshot(_snapshot("b", positions[0])) is True
            assert await store.get_latest_snapshot("a") == _snapshot("a", positions[2])
            assert await store.get_latest_snapshot("b") == _snapshot("b", positions[0])
            assert await store.get_latest_snapshot("c") is None

        self._run(test)

    def test_events_saved_at_once_are_all_there(self) -> None:
        """Many tasks save; each event has a position of its own and is stored once."""

        async def test(store: IEventStore) -> None:
            events = [_event(n) for n in range(50)]
            await asyncio.gather(*(store.save_event(event) for event in events))
            assert len({event.metadata.sequence_number for event in events}) == 50
            in_order = sorted(events, key=lambda event: event.metadata.sequence_number)
            assert [event.data["n"] for event in in_order] == await _numbers(store)

        self._run(test)


def _event(n: int, kind: EventType = EventType.RISK_ALERT, aggregate_id: str | None = None) -> Event:
    return Event(kind, {"n": n}, EventMetadata(aggregate_id=aggregate_id))


def _snapshot(aggregate_id: str, position: int) -> EventSnapshot:
    return EventSnapshot(
        f"s-{aggregate_id}-{position}", WHEN, aggregate_id, position, {"at": position, "x": [1]}
    )


async def _save(store: IEventStore, events: list[Event]) -> list[int]:
    for event in events:
        await store.save_event(event)
    return [event.metadata.sequence_number for event in events]


async def _numbers(store: IEventStore, *arguments: Any) -> list[int]:
    return [event.data["n"] for event in await store.get_events(*arguments)]
