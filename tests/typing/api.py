"""The public API as users write it, for the type checkers (`make types`); nothing here is executed.

Owns one example of each call with the type it must have. A wrong use that checkers must refuse carries an ignore
comment: were it accepted, the unused ignore would be the error.
"""

import sqlite3
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, assert_type

import aresbus
from aresbus import (
    Aggregate,
    AsyncRepository,
    EnhancedEventBus,
    Event,
    EventMetadata,
    EventSnapshot,
    EventStatus,
    EventType,
    EventVersionManager,
    Expected,
    FileEventStore,
    IEventStore,
    Log,
    MemoryEventStore,
    MemoryProjectionStore,
    Projection,
    Receipt,
    Reducers,
    Repository,
    SqliteProjectionStore,
    applies,
    get_event_bus_config,
    rebuild,
    register_event_type,
    setup_enhanced_event_bus,
)
from aresbus.testing import given


def evidence(log: Log) -> None:
    """Head, proof, verification against heads, anchors."""
    head = log.head()
    assert_type(head, aresbus.TreeHead)
    assert_type(aresbus.heads_in(str(head)), list[aresbus.TreeHead])
    assert_type(log.verify(against=[head])["heads"], int)
    assert_type(log.prove(0, head).path, tuple[str, ...])
    assert_type(log.anchors, aresbus.AnchorReport | None)
    log.verify(against="head")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def native_door(path: str) -> None:
    """Open, append, read, follow, verify."""
    with aresbus.open(path, durability="group", segment_bytes=1 << 20) as log:
        receipt = log.append(
            "order_filled",
            {"price": 1.5},
            source="exchange",
            aggregate_id="order-1",
            tags={"desk": "a"},
            expected_version=Expected.NONE,
            durability="always",
        )
        assert_type(receipt, Receipt)
        assert_type(receipt.seq, int)
        assert_type(receipt.event_id, str)
        assert_type(receipt.aggregate_version, int | None)
        assert_type(log.append_bytes("raw", b"\x00", encoding="bytes"), Receipt)
        assert_type(log.append_many([("a", 1), ("b", {"two": 2})]), list[Receipt])
        assert_type(log.append_many([{"event_type": "a", "data": 1}], source="x"), list[Receipt])
        for event in log.read(after=3, types=["order_filled"], limit=10):
            assert_type(event, Event)
            assert_type(event.seq, int | None)
            assert_type(event.raw, bytes | None)
            assert_type(event.correlation_id, str | None)
            assert_type(event.part, int | None)
            assert_type(event.stored, Event)
        assert_type(log.append_many([], expected={"a": Expected.NONE, "b": 3}), list[Receipt])
        assert_type(next(log.read(source="x", tags={"desk": "a"}, direction="backward")), Event)
        assert_type(next(log.follow(correlation_id="x", types="order_*", timeout=1.0)), Event)
        assert_type(log.last_seq, int | None)
        assert_type(log.durable_seq, int | None)
        assert_type(log.sync(), int | None)
        assert_type(log.verify()["findings"], list[aresbus.reports.Finding])
        assert_type(log.recovery["cut"], aresbus.reports.Cut | None)
        found = aresbus.trace(log, "c")
        assert_type(found.roots[0].event, Event)
        assert_type(found.roots[0].hop_ns, int | None)
        report = aresbus.latency_between(log, "a", "b", since=1, by="aggregate")
        assert_type(report.percentile(0.5), int | None)
        aresbus.latency_between(log, "a", "b", by="time")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with aresbus.actor("alice", reason="r"), log.act("limits.change", {"to": 1}) as result:
            assert_type(result, dict[str, Any])
        assert_type(aresbus.read_acts(log, outcome="failed")[0].ended_ns, int | None)
        assert_type(aresbus.export_acts(log, path, as_csv=True), dict[str, Any])
        with aresbus.correlate() as correlation_id:
            assert_type(correlation_id, str)

    log.read(direction="up")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    aresbus.open(path, durability="sometimes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    aresbus.open(path, mode="a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def bus_door() -> None:
    """Everything that the contract of the bus names."""
    bus = EnhancedEventBus({"event_bus": {"batch_size": 10}}, strict=True)
    assert_type(await bus.initialize(), bool)

    def on_event(event: Event) -> None:
        event.metadata.tags["seen"] = "yes"

    async def on_event_later(event: Event) -> None:
        on_event(event)

    order_filled = register_event_type("order_filled")
    bus.subscribe(EventType.TRADE_EXECUTED, on_event)
    bus.subscribe(order_filled, on_event_later)
    bus.subscribe("risk_alert", on_event)
    bus.unsubscribe(EventType.TRADE_EXECUTED, on_event)

    pending = bus.publish(
        EventType.TRADE_EXECUTED,
        {"price": 1.0},
        "strategy",
        correlation_id="c",
        aggregate_id="a",
        tags={"k": "v"},
        causation_id="e",
        event_id="i",
        event_time_ns=1,
        schema_version="1.0.0",
        expected_version=0,
        durability="group",
    )
    coroutine: Coroutine[Any, Any, str] = pending
    assert_type(await coroutine, str)
    assert_type(await bus.publish("risk_alert", {}), str)
    bus.publish(EventType.RISK_ALERT, {})  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]

    assert_type(
        await bus.replay_events("a", from_sequence=1, event_types=[EventType.RISK_ALERT]), list[Event]
    )
    assert_type(await bus.rebuild_from_events("a", target_sequence=9), dict[str, Any])
    assert_type(await bus.process_pending(), int)
    assert_type(bus.get_status(), dict[str, Any])
    assert_type(bus.get_history(5), list[dict[str, Any]])
    assert_type(bus.get_event_history(5), list[Event])
    assert_type(bus.is_running, bool)
    assert_type(bus.snapshots["system"], EventSnapshot)
    assert_type(bus.event_queue.qsize(), int)
    assert_type(bus.event_queue.empty(), bool)
    await bus.stop(timeout=1.0)

    async with EnhancedEventBus(mode="r") as reader:
        assert_type(reader, EnhancedEventBus)

    made = await setup_enhanced_event_bus(get_event_bus_config())
    assert_type(made, EnhancedEventBus | None)


async def stores(store: IEventStore) -> None:
    """The store interface, ours and a user's own."""
    event = Event(EventType.RISK_ALERT, {"level": 1}, EventMetadata(source="risk"))
    assert_type(event.to_dict(), dict[str, Any])
    assert_type(Event.from_dict({}), Event)
    assert_type(await store.save_event(event), bool)
    assert_type(await store.get_events("a", 0, None, [EventType.RISK_ALERT]), list[Event])
    assert_type(await store.get_latest_snapshot("a"), EventSnapshot | None)
    both: list[IEventStore] = [FileEventStore("event_store"), MemoryEventStore()]
    assert both
    IEventStore()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]


def meaning(metadata: EventMetadata, event: Event) -> None:
    """Metadata, status and schema versions."""
    assert_type(metadata.timestamp, datetime)
    assert_type(metadata.status, EventStatus)
    assert_type(metadata.tags, dict[str, str])
    manager = EventVersionManager()
    assert_type(manager.validate_event_schema(event), bool)
    assert_type(manager.migrate_event(event, "1.1.0"), Event)


def errors() -> None:
    """Errors carry fields, and are what Python already has a name for."""
    try:
        native_door("log")
    except aresbus.VersionConflictError as conflict:
        assert_type(conflict.code, str)
        assert_type(conflict.conflicts, list[aresbus.reports.Conflict])
    except aresbus.StorageError as storage:
        known: OSError = storage
        raise known from None
    except aresbus.EncodeError as encode:
        wrong: TypeError | ValueError = encode
        raise wrong from None


class Order(Aggregate):
    """What a user writes."""

    def __init__(self, aggregate_id: str) -> None:
        super().__init__(aggregate_id)
        self.open_quantity = 0

    def fill(self, quantity: int) -> bool:
        """A command with a result."""
        self.emit("order_filled", {"quantity": quantity}, tags={"desk": "a"})
        return self.open_quantity == 0

    @applies("order_filled")
    def on_filled(self, event: Event) -> None:
        """A fold."""
        self.open_quantity -= event.data["quantity"]


def states(log: Log) -> None:
    """Reducers, repositories."""
    reducers = Reducers()
    reducers.register("order_filled", lambda state, event: {**state, "last": event.data}, category="order")
    assert_type(rebuild(log, "order-1", reducers, to_version=3).state, dict[str, Any])
    orders = Repository(log, Order, snapshot_every=100)
    assert_type(orders.load("order-1", to_time=datetime.now(UTC)), Order)
    done = orders.execute("order-1", lambda order: order.fill(1))
    assert_type(done.aggregate, Order)
    assert_type(done.result, bool)
    assert_type(orders.save(done.aggregate), list[Receipt])


async def states_on_a_bus(bus: EnhancedEventBus) -> None:
    """The other door; commands of both kinds."""
    orders = AsyncRepository(bus, Order)

    async def command(order: Order) -> str:
        return str(order.fill(1))

    assert_type((await orders.execute("order-1", command)).result, str)
    assert_type((await orders.execute("order-1", lambda order: order.fill(1))).result, bool)


def projections(log: Log) -> None:
    """On both stores."""

    def on_filled(db: sqlite3.Connection, event: Event) -> None:
        db.execute("INSERT INTO fills VALUES (?)", (event.seq,))

    def count(state: dict[str, Any], event: Event) -> None:
        state["count"] = state.get("count", 0) + 1

    on_disk = Projection("fills", SqliteProjectionStore("fills.db"), {"order_filled": on_filled})
    assert_type(on_disk.update(log).rebuilt, str | None)
    Projection("fills", MemoryProjectionStore(), {"order_filled": count}).follow(log, timeout=1.0)
    Projection("fills", MemoryProjectionStore(), {"order_filled": on_filled})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]


def scenarios() -> None:
    """Tests without a log."""
    given(("order_filled", {"quantity": 1}), of=Order).when(Order.fill, 1).then().then_state(open_quantity=1)
