"""A bot that ends well: on SIGTERM or Ctrl-C it stops publishing, lets its handlers finish, and closes the log.

Each line it prints acknowledges one event; whatever is acknowledged is in the log when it has ended. A supervisor
should wait for longer than `stop()` does (30 s) before it kills. Usage: python sigterm.py LOG-FOLDER [SECONDS]
(default 0.2; 0 runs until a signal comes)
"""

import asyncio
import signal
import sys

from aresbus import EnhancedEventBus, Event, EventType


async def main(folder: str, seconds: float) -> None:
    """Publish until told to stop, then leave nothing undone."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Before the log is opened: a signal that comes earlier than this ends a process that has promised nothing yet.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)

    handled: list[str] = []

    async def on_tick(event: Event) -> None:
        await asyncio.sleep(0.001)  # what a real handler waits for
        handled.append(event.event_id)

    async with EnhancedEventBus({"event_bus": {"storage_path": folder}}, strict=True) as bus:
        bus.subscribe(EventType.MARKET_DATA_RECEIVED, on_tick)
        if seconds:
            loop.call_later(seconds, stopping.set)
        published = 0
        while not stopping.is_set():
            tick = {"symbol": "BTCUSDT", "price": 61_250.5 + published, "volume": 1.0}
            event_id = await bus.publish(EventType.MARKET_DATA_RECEIVED, tick, source="feed")
            print(event_id, flush=True)
            published += 1
            await asyncio.sleep(0.0005)
        # Leaving the block stops the bus: what was published is delivered, synced, and the log is closed cleanly.
    print(f"stopped: {published} published, {len(handled)} handled")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 0.2))  # noqa: PLR2004 - an optional word
