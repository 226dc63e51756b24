"""The demo's two subscribers: volume-weighted price from trades, best bid and ask from the top of the book.

Owns the arithmetic and the state. Knows no bus: a subscriber is anything that takes an event. Invariant: the same events
in the same order give exactly the same state, so that a replay can be compared with what was live.
"""

from dataclasses import dataclass, field
from typing import Any

from aresbus._core import Event

__all__ = ["Indicators", "add_trade"]

BASIS_POINTS = 10_000


def add_trade(state: dict[str, Any], event: Event) -> dict[str, Any]:
    """Fold one trade into ``state``: turnover, quantity and their ratio, the volume-weighted average price."""
    trade = event.data["data"]
    quantity = float(trade["q"])
    state["trades"] = state.get("trades", 0) + 1
    state["quantity"] = state.get("quantity", 0.0) + quantity
    state["turnover"] = state.get("turnover", 0.0) + float(trade["p"]) * quantity
    state["vwap"] = state["turnover"] / state["quantity"] if state["quantity"] else None
    return state


@dataclass
class Indicators:
    """State of both subscribers, by aggregate (source and symbol)."""

    trades: dict[str, dict[str, Any]] = field(default_factory=dict)
    books: dict[str, dict[str, Any]] = field(default_factory=dict)

    def on_trade(self, event: Event) -> None:
        """Take a ``trade``."""
        add_trade(self.trades.setdefault(str(event.aggregate_id), {}), event)

    def on_book(self, event: Event) -> None:
        """Take a ``bookTicker``: keep the newest best bid and ask, and the widest spread seen."""
        book = event.data["data"]
        bid, ask = float(book["b"]), float(book["a"])
        spread = (ask - bid) / ask * BASIS_POINTS if ask else 0.0
        state = self.books.setdefault(str(event.aggregate_id), {"widest_bp": 0.0})
        state |= {"bid": bid, "ask": ask, "spread_bp": spread, "widest_bp": max(state["widest_bp"], spread)}

    def take(self, event: Event) -> None:
        """Take any stored event, as a replay gives them."""
        if event.event_type == "trade":
            self.on_trade(event)
        elif event.event_type == "bookTicker":
            self.on_book(event)

    def state(self) -> dict[str, Any]:
        """All of it, comparable and ready for JSON."""
        return {"trades": self.trades, "books": self.books}
