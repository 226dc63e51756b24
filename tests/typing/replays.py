"""Replay as users write it, for the type checkers (`make types`); nothing here is executed.

Owns one example of each call with the type it must have: above all, that a bus and a replay are both what a strategy wants.
"""

from typing import assert_type

from aresbus import (
    EnhancedEventBus,
    Event,
    EventType,
    Log,
    Replay,
    ReplayReport,
    StrategyBus,
    digest_of,
    gate,
    sink,
)


@sink("broker")
def send(order: str, *, size: int) -> str:
    """A marked function keeps its signature."""
    return order * size


class Strategy:
    """Takes either bus."""

    def __init__(self, bus: StrategyBus) -> None:
        self.bus = bus
        bus.subscribe(EventType.TRADE_EXECUTED, self.on_trade)

    async def on_trade(self, event: Event) -> None:
        """Publish with the time of the bus."""
        await self.bus.publish(EventType.TRADE_DECISION_MADE, {"at": self.bus.clock.now()})
        assert_type(send("x", size=2), str)
        with gate("broker"):
            send("y", size=1)


def both(bus: EnhancedEventBus, log: Log) -> None:
    """Live and again."""
    Strategy(bus)
    with Replay(log, types=[EventType.TRADE_EXECUTED], speed=60, allow="broker") as replay:
        Strategy(replay)
        assert_type(replay.run(), ReplayReport)
        assert_type(digest_of(replay.output.read()), str)
        assert_type(replay.step(2), int)
        replay.speed = None
        send("z")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
