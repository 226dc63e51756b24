"""A mock trading system, from the market to the result: six components, their versions, a rebuild and a replay.

market data → analysis → strategy → decision → execution → performance. Each component is a subscription of its own and knows
the bus alone; the conversation of each tick runs through all of them without a line of code for it. A decision that would
take too much risk becomes a risk alert instead. Trades a made-up market for two days: on the second the decisions have a
new schema version. In the evening another process, which only reads, asks the log what happened.

Run it with ``aresbus example trading_system``, or ``python trading_system.py [LOG-FOLDER]``; over a log that is there
already it trades one more day.
"""

import asyncio
import random
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aresbus
from aresbus import EnhancedEventBus, Event, EventType, EventVersionManager, StrategyBus, digest_of, sink

SYMBOL = "BTCUSDT"
TICKS = 300
WINDOW = 10
"""Prices in the moving average."""
THRESHOLD = 0.0004
"""The strategy wants to act where the price is this share away from its average."""
QUANTITY = 0.5
MAX_EXPOSURE = 150_000.0
"""Worth of the position, long or short, beyond which nobody may go."""
FEE = 0.001


@sink("exchange", instead=lambda order: order["price"])
def send_order(order: dict[str, Any]) -> float:
    """Stand-in for an exchange: the price at which it filled. A replay holds this call back."""
    return float(order["price"])


class Analyst:
    """market data → analysis: how far the price is from its average."""

    def __init__(self, bus: StrategyBus) -> None:
        """Begin with no prices."""
        self.bus: StrategyBus = bus
        self.prices: deque[float] = deque(maxlen=WINDOW)
        bus.subscribe(EventType.MARKET_DATA_RECEIVED, self.on_tick)

    async def on_tick(self, event: Event) -> None:
        """Say something once there are enough prices."""
        price = event.data["price"]
        self.prices.append(price)
        if len(self.prices) == WINDOW:
            mean = sum(self.prices) / WINDOW
            analysis = {"price": price, "deviation": price / mean - 1}
            await self.bus.publish(
                EventType.ANALYSIS_COMPLETED, analysis, "analyst", aggregate_id=event.aggregate_id
            )


class Strategist:
    """analysis → strategy: against the deviation, where it is large enough."""

    def __init__(self, bus: StrategyBus) -> None:
        """Nothing to remember."""
        self.bus: StrategyBus = bus
        bus.subscribe(EventType.ANALYSIS_COMPLETED, self.on_analysis)

    async def on_analysis(self, event: Event) -> None:
        """Want something, or not."""
        deviation = event.data["deviation"]
        if abs(deviation) > THRESHOLD:
            wanted = {"side": "sell" if deviation > 0 else "buy", "price": event.data["price"]}
            await self.bus.publish(
                EventType.STRATEGY_FORMULATED, wanted, "strategist", aggregate_id=event.aggregate_id
            )


class RiskDesk:
    """strategy → decision, or a risk alert: nobody else knows the limit."""

    def __init__(self, bus: StrategyBus, position: float, schema_version: str) -> None:
        """Begin with the position that earlier days left."""
        self.bus: StrategyBus = bus
        self.position: float = position
        self.schema_version: str = schema_version
        bus.subscribe(EventType.STRATEGY_FORMULATED, self.on_strategy)

    async def on_strategy(self, event: Event) -> None:
        """Decide."""
        side, price = event.data["side"], event.data["price"]
        position = self.position + (QUANTITY if side == "buy" else -QUANTITY)
        exposure = abs(position) * price
        if exposure > MAX_EXPOSURE and abs(position) > abs(self.position):
            alert = {"limit": MAX_EXPOSURE, "exposure": exposure, "wanted": side}
            await self.bus.publish(EventType.RISK_ALERT, alert, "risk desk", aggregate_id=event.aggregate_id)
            return
        self.position = position
        decision = {"side": side, "price": price, "quantity": QUANTITY}
        if self.schema_version == "1.1.0":
            decision["notional"] = QUANTITY * price
        await self.bus.publish(
            EventType.TRADE_DECISION_MADE,
            decision,
            "risk desk",
            aggregate_id=event.aggregate_id,
            schema_version=self.schema_version,
        )


class Executor:
    """decision → execution."""

    def __init__(self, bus: StrategyBus) -> None:
        """Nothing to remember: what is done is in the log."""
        self.bus: StrategyBus = bus
        bus.subscribe(EventType.TRADE_DECISION_MADE, self.on_decision)

    async def on_decision(self, event: Event) -> None:
        """Send the order, say what came of it."""
        order = event.data
        filled = {"symbol": SYMBOL, "side": order["side"], "quantity": order["quantity"]}
        trade = filled | {"price": send_order(order)}
        await self.bus.publish(EventType.TRADE_EXECUTED, trade, "executor", aggregate_id=event.aggregate_id)


class Accountant:
    """execution → performance: what the trades of the whole log have come to."""

    def __init__(self, bus: StrategyBus, state: dict[str, Any]) -> None:
        """Begin with the state that earlier days left."""
        before = state.get("performance", {"position": 0.0, "cash": 0.0, "trades": 0})
        self.bus: StrategyBus = bus
        self.result: dict[str, Any] = dict(before)
        bus.subscribe(EventType.TRADE_EXECUTED, self.on_trade)

    async def on_trade(self, event: Event) -> None:
        """Book it."""
        trade = event.data
        signed = trade["quantity"] if trade["side"] == "buy" else -trade["quantity"]
        turnover = trade["quantity"] * trade["price"]
        self.result["position"] += signed
        self.result["cash"] -= signed * trade["price"] + FEE * turnover
        self.result["trades"] += 1
        await self.bus.publish(
            EventType.PERFORMANCE_UPDATE, dict(self.result), "accountant", aggregate_id=event.aggregate_id
        )


class Team:
    """All components on one bus, live or in a replay."""

    def __init__(self, bus: StrategyBus, state: dict[str, Any], schema_version: str) -> None:
        """Let them go on from ``state``."""
        self.accountant: Accountant = Accountant(bus, state)
        self.executor: Executor = Executor(bus)
        self.risk_desk: RiskDesk = RiskDesk(bus, self.accountant.result["position"], schema_version)
        self.strategist: Strategist = Strategist(bus)
        self.analyst: Analyst = Analyst(bus)


def declare(versions: EventVersionManager, newest: str) -> None:
    """What a decision looks like: at first without its worth, then with it; the step leads from one to the other."""
    fields = ["side", "price", "quantity"]
    versions.register(EventType.TRADE_DECISION_MADE, {"required_fields": fields}, version="1.0.0")
    if newest == "1.1.0":

        @versions.upcaster(EventType.TRADE_DECISION_MADE, "1.0.0", "1.1.0")
        def add_notional(data: dict[str, Any]) -> dict[str, Any]:
            return data | {"notional": data["quantity"] * data["price"]}

        more = {"required_fields": [*fields, "notional"]}
        versions.register(EventType.TRADE_DECISION_MADE, more, version="1.1.0", current=True)


def add_notional_traded(state: dict[str, Any], event: Event) -> None:
    """The reducer of decisions. It knows version 1.1.0 alone: older ones are brought forward before it sees them."""
    state["decided"] = state.get("decided", 0.0) + event.data["notional"]


def prices(seed: int) -> Iterator[float]:
    """A day of a made-up market."""
    chance, price = random.Random(seed), 60_000.0  # noqa: S311 - no secret
    for _ in range(TICKS):
        price *= 1 + chance.gauss(-0.00005, 0.0003)
        yield round(price, 2)


def make_bus(folder: str, *, schema_version: str, **options: Any) -> EnhancedEventBus:
    """A bus of a program that knows the decisions up to ``schema_version``."""
    settings = {"storage_path": folder, "schema_validation": "strict"}
    bus = EnhancedEventBus({"event_bus": settings}, strict=True, **options)
    declare(bus.version_manager, schema_version)
    if schema_version == "1.1.0":
        bus.register_reducer(EventType.TRADE_DECISION_MADE, add_notional_traded)
    return bus


async def trade_a_day(folder: str, schema_version: str) -> dict[str, Any]:
    """Feed one day to the team; gives what its accountant came to."""
    async with make_bus(folder, schema_version=schema_version) as bus:
        state = await bus.rebuild_from_events(SYMBOL)
        team = Team(bus, state, schema_version)
        alerts: list[Event] = []
        bus.subscribe(EventType.RISK_ALERT, alerts.append)
        for price in prices(seed=bus.log.last_seq or 0):
            tick = {"symbol": SYMBOL, "price": price, "volume": 1.0}
            await bus.publish(EventType.MARKET_DATA_RECEIVED, tick, "feed", aggregate_id=SYMBOL)
            await asyncio.sleep(0.001)  # a real feed is awaited here
    # Leaving the block stops the bus, which delivers first what was published.
    result = team.accountant.result
    print(
        f"a day with decisions {schema_version}: {result['trades']} trades so far, "
        f"position {result['position']:+.1f}, {len(alerts)} risk alerts"
    )
    if alerts:
        first = alerts[0].data
        print(f"  the first: {first['wanted']} refused, exposure {first['exposure']:,.0f} over the limit")
    return result


async def review(folder: str, day_began: int | None, live: dict[str, Any]) -> None:
    """Ask the log, as another process would, beside the bot or long after it; day and result are those of the last day."""
    async with make_bus(folder, schema_version="1.1.0", mode="r") as bus:
        log = bus.log
        stored = [event.schema_version for event in log.read(types=EventType.TRADE_DECISION_MADE)]
        shown = await bus.replay_events(event_types=[EventType.TRADE_DECISION_MADE])
        print(
            f"versions: {stored.count('1.0.0')} decisions stored as 1.0.0, {stored.count('1.1.0')} as 1.1.0; "
            f"{sum('notional' in event.data for event in shown)} of {len(shown)} are read as 1.1.0"
        )

        state = await bus.rebuild_from_events(SYMBOL)
        print(
            f"rebuild: {len(state['trades'])} trades, {state['decided']:,.0f} decided over all versions, "
            f"cash {state['performance']['cash']:,.2f}: {'as live' if state['performance'] == live else 'NOT AS LIVE'}"
        )

        before = {} if day_began is None else await bus.rebuild_from_events(SYMBOL, day_began)
        replay = await bus.replay(after=day_began, types=[EventType.MARKET_DATA_RECEIVED])
        Team(replay, before, "1.1.0")
        report = await replay.run_async()
        recorded = digest_of(log.read(after=day_began, types=EventType.TRADE_DECISION_MADE))
        decided = digest_of(replay.output.read(types=EventType.TRADE_DECISION_MADE))
        print(
            f"replay: the last day's {report.replayed} ticks, {report.blocked.get('exchange', 0)} orders held back: "
            f"{'decided as live' if decided == recorded else 'NOT DECIDED AS LIVE'}"
        )

        *_, newest = log.read(types=EventType.PERFORMANCE_UPDATE)
        print(
            f"\nthe last conversation that came to a trade:\n{aresbus.trace(log, newest.correlation_id or '').text()}"
        )
        report_text = aresbus.latency_between(log, "market_data_received", "trade_executed").text()
        print("\nlatency, " + "\n".join(report_text.splitlines()[:3]))


def main(folder: str) -> None:
    """Two days on a new log, one on an older; then the review."""
    if not Path(folder).exists():
        asyncio.run(trade_a_day(folder, "1.0.0"))
    with aresbus.open(folder, mode="r") as log:
        day_began = log.last_seq
    live = asyncio.run(trade_a_day(folder, "1.1.0"))
    asyncio.run(review(folder, day_began, live))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "trading_log")
