"""A bot without asyncio, in thirty lines: it remembers what it saw, decides, and its log is its only state.

Run it with ``aresbus example sync_bot``, or ``python sync_bot.py [LOG-FOLDER]``; run it again, and it goes on from there.
"""

import math
import sys
from collections import deque

import aresbus
from aresbus import EventType

TICK, DECISION = EventType.MARKET_DATA_RECEIVED, EventType.TRADE_DECISION_MADE


def main(folder: str) -> None:
    """Buy below the mean of the last twenty prices, sell above it; one position at a time."""
    with aresbus.open(folder) as log:
        recent = list(log.read(types=TICK, direction="backward", limit=20))
        prices = deque((event.data["price"] for event in reversed(recent)), maxlen=20)
        newest = next(log.read(types=DECISION, direction="backward"), None)
        side = "sell" if newest is None else newest.data["side"]
        print(f"remembers {len(prices)} prices, and that it decided to {side if newest else 'do nothing'}")
        for n in range(100):
            price = round(60_000 + 50 * math.sin(n / 8), 2)  # a real feed is read here
            tick = log.append(TICK, {"symbol": "BTCUSDT", "price": price, "volume": 1.0}, source="feed")
            prices.append(price)
            wanted = "buy" if price < sum(prices) / len(prices) else "sell"
            if wanted != side:
                side, decision = wanted, {"side": wanted, "price": price}
                log.append(DECISION, decision, source="bot", causation_id=tick.event_id, durability="group")
                print(f"{side} at {price:,.2f}, decided and durable at seq {log.durable_seq}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "sync_bot_log")
