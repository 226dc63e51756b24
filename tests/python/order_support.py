"""An order as an aggregate, for the tests of aggregates, repositories and scenarios. Owns no fixture and asserts nothing."""

from typing import Any

from aresbus import Aggregate, Event, applies


class RefusedError(Exception):
    """The order does not do that."""


class Order(Aggregate):
    """Placed, filled in parts, cancelled."""

    def __init__(self, aggregate_id: str) -> None:
        super().__init__(aggregate_id)
        self.status = "new"
        self.open_quantity = 0
        self.fills: list[Any] = []

    def place(self, quantity: int) -> None:
        if self.status != "new":
            raise RefusedError(f"it is {self.status}")
        self.emit("order_placed", {"quantity": quantity})

    def fill(self, quantity: int) -> int:
        """Fill a part; what is left."""
        if quantity > self.open_quantity:
            raise RefusedError(f"only {self.open_quantity} open")
        self.emit("order_filled", {"quantity": quantity})
        if self.open_quantity == 0:
            self.emit("order_done", {})
        return self.open_quantity

    def cancel(self) -> None:
        if self.status != "cancelled":
            self.emit("order_cancelled", None, tags={"by": "hand"})

    @applies("order_placed")
    def on_placed(self, event: Event) -> None:
        self.status = "open"
        self.open_quantity = event.data["quantity"]

    @applies("order_filled")
    def on_filled(self, event: Event) -> None:
        self.open_quantity -= event.data["quantity"]
        self.fills.append(event.data)

    @applies("order_done", "order_cancelled")
    def on_end(self, event: Event) -> None:
        self.status = "cancelled" if event.event_type == "order_cancelled" else "done"
