"""A bus with one subscriber, fed with recorded trades: publish, deliver, restart, rebuild.

Run it twice: the second time it starts from what the first left in the log. Usage: python vwap.py [LOG-FOLDER]
"""

import asyncio
import sys
from typing import Any

from aresbus import EnhancedEventBus, Event, register_event_type
from aresbus.cli.lines import parse_line, read_feed
from aresbus.market_day import CAPTURES

TRADE = register_event_type("trade")
MARKET = CAPTURES[0]
SYMBOL = f"{MARKET.source}:BTCUSDT"


def add_trade(state: dict[str, Any], event: Event) -> dict[str, Any]:
    """Fold one trade into the state of its market: live and in a rebuild the same function."""
    trade = event.data["data"]
    quantity = float(trade["q"])
    state["quantity"] = state.get("quantity", 0.0) + quantity
    state["turnover"] = state.get("turnover", 0.0) + float(trade["p"]) * quantity
    return state


async def main(folder: str) -> None:
    """Publish 500 trades; print the volume-weighted price of all that the log holds."""
    with MARKET.path.open("rb") as file:
        messages = [parse_line(line, MARKET.source) for line in read_feed(file)]
    trades = [message for message in messages if message.event_type == TRADE][:500]

    async with EnhancedEventBus({"event_bus": {"storage_path": folder}}, strict=True) as bus:
        bus.register_reducer(TRADE, add_trade)
        state = await bus.rebuild_from_events(SYMBOL)
        print(f"from the log: {state.get('quantity', 0.0):.3f} BTC traded")

        bus.subscribe(TRADE, lambda event: add_trade(state, event))
        for message in trades:
            await bus.publish(
                TRADE, message.data, MARKET.source, aggregate_id=SYMBOL, event_time_ns=message.time_ns
            )
    # Leaving the block stops the bus, which delivers first what was published.
    print(f"now: {state['quantity']:.3f} BTC at {state['turnover'] / state['quantity']:,.2f} on average")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "event_store"))
