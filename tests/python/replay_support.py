"""What the tests of replay share: a log with known times, and a strategy that decides and is told of its decisions.

Owns no fixture and asserts nothing.
"""

import aresbus
from aresbus import EventType, ManualClock, register_event_type

TICK = register_event_type("tick")
ORDER = register_event_type("order")
START_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000
EVENT_LAG_NS = 5 * SECOND_NS
"""An event speaks of a time that far before its append."""


def write_ticks(path, count=10, *, gap_ns=SECOND_NS):
    """A log on disk (None: in memory) with ticks n = 0, 1, 2 … a second apart, left open for writing."""
    clock = ManualClock(START_NS)
    log = aresbus.Log(path, clock=clock)
    for number in range(count):
        clock.set_ns(START_NS + number * gap_ns)
        log.append(
            TICK, {"n": number}, event_time_ns=clock.time_ns() - EVENT_LAG_NS, aggregate_id=f"m{number % 2}"
        )
    return log


class Doubler:
    """Decides on every even tick; orders on every decision."""

    def __init__(self, bus):
        self.bus = bus
        self.calls = []
        bus.subscribe(TICK, self.on_tick)
        bus.subscribe(EventType.TRADE_DECISION_MADE, self.on_decision)

    async def on_tick(self, event):
        self.calls.append(("tick", event.data["n"]))
        if event.data["n"] % 2 == 0:
            await self.bus.publish(
                EventType.TRADE_DECISION_MADE, {"twice": 2 * event.data["n"]}, "doubler", aggregate_id="d"
            )

    def on_decision(self, event):
        self.calls.append(("decision", event.data["twice"]))
        self.bus.publish(ORDER, {"qty": event.data["twice"]}, tags={"b": "2", "a": "1"})


class Ticks(list):
    """A handler that keeps the numbers of the ticks it gets."""

    def __call__(self, event):
        self.append(event.data["n"])


class FakeTimer:
    """A timer that does not sleep: waiting moves it, and is kept in ``waits``; ``when_asked`` may act meanwhile."""

    def __init__(self):
        self.now_ns = 77
        self.waits = []
        self.when_asked = lambda seconds: seconds

    def monotonic_ns(self):
        return self.now_ns

    async def wait(self, changed, seconds):
        slept = self.when_asked(seconds)
        self.waits.append(round(slept, 6))
        self.now_ns += round(slept * SECOND_NS)
