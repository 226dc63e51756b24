"""Scripts as bots on the older buses of Ares have them run on aresbus, changed in nothing but the import.

Each script is a text below: what stands between the import and the end knows only the older API. They run as processes of
their own, as bots do.
"""

import subprocess
import sys

import pytest

ENHANCED = """
import asyncio
from datetime import datetime, timezone


class TradingBot:
    def __init__(self, event_bus):
        self.event_bus = event_bus
        self.balance = 10_000.0
        self.order = []
        event_bus.subscribe(EventType.MARKET_DATA_RECEIVED, self.on_market_data)
        event_bus.subscribe("trade_executed", self.on_trade)
        event_bus.subscribe(EventType.RISK_ALERT, self.on_alert)

    async def on_market_data(self, event):
        self.order.append("market data")
        if event.data["price"] < 50_000:
            await self.event_bus.publish(
                EventType.TRADE_EXECUTED,
                {"symbol": event.data["symbol"], "side": "BUY", "quantity": 0.1, "price": event.data["price"]},
                source="TradingBot",
                correlation_id=event.metadata.correlation_id,
                aggregate_id="trader_1",
                tags={"strategy": "dip"},
            )

    def on_trade(self, event):
        self.order.append("trade")
        event.metadata.tags["seen"] = "yes"
        self.balance -= event.data["quantity"] * event.data["price"]

    def on_alert(self, event):
        raise RuntimeError("a failing subscriber is nobody else's trouble")


async def until(condition):
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came")


async def main():
    config = {
        "event_bus": {
            "processing_interval": 0.1,
            "max_history": 100,
            "enable_persistence": True,
            "enable_snapshots": True,
            "snapshot_frequency": 3,
            "storage_path": "event_store",
        },
        "exchange": {"name": "binance"},
    }
    event_bus = await setup_enhanced_event_bus(config)
    assert event_bus is not None
    assert event_bus.is_running is False
    bot = TradingBot(event_bus)
    running = asyncio.create_task(event_bus.run())

    event_id = await event_bus.publish(
        EventType.MARKET_DATA_RECEIVED,
        {"symbol": "BTCUSDT", "price": 49_000.0, "volume": 12.5},
        source="DataFeed",
        correlation_id="session_1",
    )
    assert isinstance(event_id, str) and event_id
    assert await event_bus.publish("no such type", {}) == ""
    await event_bus.publish(EventType.RISK_ALERT, {"level": "high"})
    await event_bus.publish("performance_update", {"pnl": 1.5}, aggregate_id="trader_1")
    await until(lambda: event_bus.get_metrics()["events_processed"] >= 4)
    assert event_bus.is_running

    assert bot.order == ["market data", "trade"]
    assert bot.balance == 10_000.0 - 4_900.0
    trades = await event_bus.replay_events(aggregate_id="trader_1", event_types=[EventType.TRADE_EXECUTED])
    assert len(trades) == 1
    assert trades[0].metadata.correlation_id == "session_1"
    assert trades[0].metadata.tags == {"strategy": "dip"}
    assert trades[0].event_type == EventType.TRADE_EXECUTED
    assert trades[0].event_type.value == "trade_executed"
    state = await event_bus.rebuild_from_events("trader_1")
    assert state["trades"][0]["quantity"] == 0.1
    assert state["performance"] == {"pnl": 1.5}

    status = event_bus.get_status()
    for key in ("metrics", "queue_size", "subscribers_count", "persistence_enabled", "snapshots_enabled"):
        assert key in status
    assert event_bus.event_queue.empty()
    assert [event.data for event in event_bus.event_history][0]["symbol"] == "BTCUSDT"
    assert event_bus.get_event_history(limit=1)[0].metadata.timestamp.tzinfo is not None
    assert len(event_bus.get_history(limit=2)) == 2
    event_bus.unsubscribe("trade_executed", bot.on_trade)
    assert event_bus.subscribers["market_data_received"] == [bot.on_market_data]

    await event_bus.stop()
    await running
    assert event_bus.is_running is False
    assert event_bus.metrics["snapshots_created"] > 0
    assert "system" in event_bus.snapshots


async def stores():
    store = FileEventStore("another_store")
    metadata = EventMetadata(source="test", aggregate_id="a", timestamp=datetime.now(timezone.utc))
    event = Event(event_type=EventType.TRADE_EXECUTED, data={"symbol": "ETHUSDT"}, metadata=metadata)
    assert await store.save_event(event) is True
    assert (await store.get_events(aggregate_id="a"))[0].metadata.event_id == metadata.event_id
    snapshot = EventSnapshot(aggregate_id="a", sequence_number=0, state_data={"balance": 1000})
    assert await store.save_snapshot(snapshot) is True
    assert (await store.get_latest_snapshot("a")).state_data["balance"] == 1000
    again = Event.from_dict(event.to_dict())
    assert (again.event_type, again.data) == (event.event_type, event.data)
    assert again.metadata.status == EventStatus.PENDING
    manager = EventVersionManager()
    old = Event(EventType.MARKET_DATA_RECEIVED, {"symbol": "B", "price": 1, "volume": 2})
    assert manager.validate_event_schema(old) is True
    assert "timestamp" in manager.migrate_event(old, "1.1.0").data


asyncio.run(main())
asyncio.run(stores())
print("done")
"""

BASIC = """
import asyncio


async def main():
    bus = EventBus({"event_bus": {"processing_interval": 10, "max_history": 100}})
    await bus.initialize()
    seen = []

    async def on_data(event):
        seen.append(event)

    def on_alert(event):
        seen.append(event)

    bus.subscribe(EventType.MARKET_DATA_RECEIVED, on_data)
    bus.subscribe("risk_alert", on_alert)
    running = asyncio.create_task(bus.run())
    await bus.publish(EventType.MARKET_DATA_RECEIVED, {"symbol": "BTCUSDT", "price": 1.0})
    await bus.publish("risk_alert", {"level": "high"})
    for _ in range(2_000):
        if len(seen) == 2:
            break
        await asyncio.sleep(0.005)
    assert {event.data.get("level") for event in seen} == {"high", None}
    bus.unsubscribe("risk_alert", on_alert)
    await bus.publish("risk_alert", {"level": "low"})
    await bus.stop()
    await running
    assert len(seen) == 2
    assert len(bus.get_event_history(limit=10)) == 3
    assert bus.get_history(limit=1)
    assert bus.get_status()


asyncio.run(main())
print("done")
"""

ENHANCED_IMPORT = """
from aresbus import EnhancedEventBus, Event, EventMetadata, EventSnapshot, EventStatus, EventType
from aresbus import EventVersionManager, FileEventStore, setup_enhanced_event_bus
"""
BASIC_IMPORT = "from aresbus import EnhancedEventBus as EventBus, EventType"
SCRIPTS = {"enhanced": ENHANCED_IMPORT + ENHANCED, "basic": BASIC_IMPORT + BASIC}


@pytest.mark.parametrize("bus", SCRIPTS)
def test_a_bot_of_the_older_bus_runs_with_its_import_changed(bus, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPTS[bus]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
