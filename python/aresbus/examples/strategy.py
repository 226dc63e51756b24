"""A strategy that runs live and in a replay, unchanged: it decides on the top of the book, and measures the trades.

Plays the shipped market day through a bus, the strategy with it; then replays what was recorded, twice, and shows that
both decide as it was decided live. Usage: python strategy.py [LOG-FOLDER]; or, over any recorded log,
aresbus replay LOG-FOLDER --strategy strategy.py:TopOfBook --type bookTicker --type trade
"""

import asyncio
import sys
from dataclasses import dataclass, field
from heapq import merge
from pathlib import Path

import aresbus
from aresbus import (
    EnhancedEventBus,
    Event,
    EventType,
    Replay,
    StrategyBus,
    digest_of,
    register_event_type,
    sink,
)
from aresbus.cli.lines import Message, parse_line, read_feed
from aresbus.market_day import CAPTURES, Capture

BOOK, TRADE = register_event_type("bookTicker"), register_event_type("trade")
INPUTS = (BOOK, TRADE)
SMOOTHING = 0.02
"""Weight of the newest mid price in its moving average."""
IMBALANCE = 0.8
"""Share of the size at the best prices that has to stand on one side."""
PATIENCE_NS = 250_000_000
"""No second decision on a market within this time."""
TRADES_PER_ANALYSIS = 100


@sink("broker")
def send_order(market: str, side: str, price: float) -> None:
    """Stand-in for a broker. In a replay it is not called, so nobody has to remember that this is one."""
    print(f"  order to the broker: {side} {market} at {price:,.2f}")


@dataclass
class Market:
    """What the strategy knows of one market."""

    mean: float | None = None
    decided_ns: int = 0
    trades: list[tuple[float, float]] = field(default_factory=list)


class TopOfBook:
    """Buys or sells where the book leans against the moving average of the mid price.

    Each handler keeps to its own state. Live, only the order within one subscription is fixed: what trades were seen when
    a book comes is chance, and a decision that depended on it would be another one in the replay. For the same reason
    the patience is reckoned in event times; ``bus.clock`` is the replayed time in a replay, but live it is a little later.
    """

    def __init__(self, bus: StrategyBus) -> None:
        """Subscribe; from here on the events do the rest."""
        self.bus: StrategyBus = bus
        self.markets: dict[str, Market] = {}
        bus.subscribe(BOOK, self.on_book)
        bus.subscribe(TRADE, self.on_trade)
        bus.subscribe(EventType.TRADE_DECISION_MADE, self.on_decision)

    async def on_book(self, event: Event) -> None:
        """Decide. What is published here inherits its correlation from the book that caused it."""
        book, market = event.data["data"], self._market(event)
        bid, bid_size, ask, ask_size = (float(book[name]) for name in ("b", "B", "a", "A"))
        mid, leaning = (bid + ask) / 2, bid_size / (bid_size + ask_size)
        market.mean = mid if market.mean is None else market.mean + SMOOTHING * (mid - market.mean)
        now = event.event_time_ns or event.ts_ns or 0
        if now - market.decided_ns < PATIENCE_NS:
            return
        if leaning > IMBALANCE and mid < market.mean:
            side, price = "buy", ask
        elif leaning < 1 - IMBALANCE and mid > market.mean:
            side, price = "sell", bid
        else:
            return
        market.decided_ns = now
        decision = {"side": side, "price": price, "leaning": leaning, "mean": market.mean, "book": book["u"]}
        await self.bus.publish(
            EventType.TRADE_DECISION_MADE, decision, "top-of-book", aggregate_id=event.aggregate_id
        )

    async def on_trade(self, event: Event) -> None:
        """Publish the volume-weighted price of every hundred trades."""
        trade, market = event.data["data"], self._market(event)
        market.trades.append((float(trade["p"]), float(trade["q"])))
        if len(market.trades) < TRADES_PER_ANALYSIS:
            return
        volume = sum(quantity for _, quantity in market.trades)
        turnover = sum(price * quantity for price, quantity in market.trades)
        market.trades.clear()
        analysis = {"vwap": turnover / volume, "volume": volume}
        await self.bus.publish(
            EventType.ANALYSIS_COMPLETED, analysis, "top-of-book", aggregate_id=event.aggregate_id
        )

    def on_decision(self, event: Event) -> None:
        """Act on it."""
        send_order(str(event.aggregate_id), event.data["side"], event.data["price"])

    def _market(self, event: Event) -> Market:
        return self.markets.setdefault(str(event.aggregate_id), Market())


def market_day() -> list[tuple[str, Message]]:
    """Source and message of both shipped captures, in the order they were received."""

    def messages(capture: Capture) -> list[tuple[str, Message]]:
        with capture.path.open("rb") as file:
            return [(capture.source, parse_line(line, capture.source)) for line in read_feed(file)]

    return list(merge(*map(messages, CAPTURES), key=lambda pair: pair[1].time_ns))


async def live(folder: str) -> None:
    """Publish the market day on a bus, the strategy beside it; all of it is recorded."""
    async with EnhancedEventBus({"event_bus": {"storage_path": folder}}, strict=True) as bus:
        TopOfBook(bus)
        for source, message in market_day():
            if message.event_type in INPUTS:
                await bus.publish(
                    message.event_type,
                    message.data,
                    source,
                    aggregate_id=message.aggregate_id,
                    event_time_ns=message.time_ns,
                )
                await asyncio.sleep(0)  # a real feed is awaited here


def main(folder: str) -> None:
    """Live, unless it is recorded already; then two replays."""
    if not Path(folder).exists():
        print("live")
        asyncio.run(live(folder))
    with aresbus.open(folder, mode="r") as log:
        recorded = digest_of(log.read(types=EventType.TRADE_DECISION_MADE))
        for attempt in ("first", "second"):
            replay = Replay(log, types=INPUTS, time="event")
            TopOfBook(replay)
            report = replay.run()
            decided = digest_of(replay.output.read(types=EventType.TRADE_DECISION_MADE))
            verdict = "as live" if decided == recorded else "NOT AS LIVE"
            print(f"{attempt} replay: {report.replayed:,} events, digest {report.digest[:16]}, {verdict}")
            print(f"  {report.published} published, {report.blocked['broker']} orders held back")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "strategy_log")
