"""Order book-keeping on the native door: an aggregate that decides, and a projection in SQLite that answers questions.

Usage: python order_book.py [LOG-FOLDER]
"""

import sqlite3
import sys

import aresbus
from aresbus import Aggregate, Event, Projection, Repository, SqliteProjectionStore, applies


class Order(Aggregate):
    """Placed once, then filled in parts until nothing is open."""

    def __init__(self, aggregate_id: str) -> None:
        """Not placed yet."""
        super().__init__(aggregate_id)
        self.symbol: str = ""
        self.open_quantity: int = 0

    def place(self, symbol: str, quantity: int) -> None:
        """Decide to buy."""
        if self.symbol:
            raise ValueError(f"{self.id} is placed already")
        self.emit("order_placed", {"symbol": symbol, "quantity": quantity})

    def fill(self, quantity: int, price: float) -> None:
        """The exchange sold us some."""
        if quantity > self.open_quantity:
            raise ValueError(f"{self.id} has only {self.open_quantity} open")
        fill = {"symbol": self.symbol, "quantity": quantity, "price": price}
        self.emit("order_filled", fill)

    @applies("order_placed")
    def _on_placed(self, event: Event) -> None:
        self.symbol = event.data["symbol"]
        self.open_quantity = event.data["quantity"]

    @applies("order_filled")
    def _on_filled(self, event: Event) -> None:
        self.open_quantity -= event.data["quantity"]


def create_tables(db: sqlite3.Connection) -> None:
    """What the projection begins with."""
    db.execute("CREATE TABLE position (symbol TEXT PRIMARY KEY, quantity INTEGER, paid REAL)")


def on_filled(db: sqlite3.Connection, event: Event) -> None:
    """One fill more in the position of its symbol."""
    fill = event.data
    db.execute(
        "INSERT INTO position VALUES (?1, ?2, ?3) "
        "ON CONFLICT DO UPDATE SET quantity = quantity + ?2, paid = paid + ?3",
        (fill["symbol"], fill["quantity"], fill["quantity"] * fill["price"]),
    )


def main(folder: str) -> None:
    """Place an order, fill it, try to fill too much, and show the positions of all runs so far."""
    store = SqliteProjectionStore(f"{folder}.positions.db")
    positions = Projection("positions", store, {"order_filled": on_filled}, initial=create_tables)
    with aresbus.open(folder) as log:
        orders = Repository(log, Order, snapshot_every=100)
        order_id = f"order-{0 if log.last_seq is None else log.last_seq + 1}"
        orders.execute(order_id, lambda order: order.place("BTCUSDT", 3))
        orders.execute(order_id, lambda order: order.fill(2, 61_250.5))
        try:
            orders.execute(order_id, lambda order: order.fill(2, 61_251.0))
        except ValueError as refusal:
            print(f"refused: {refusal}")
        updated = positions.update(log)
        print(f"{updated.applied} fill more in the positions")
    show(store)
    store.close()


def show(store: SqliteProjectionStore) -> None:
    """Ask the tables, as any other program may."""
    reader = store.reader()
    for symbol, quantity, paid in reader.execute("SELECT * FROM position ORDER BY symbol"):
        print(f"{symbol}: {quantity} at {paid / quantity:.2f} on average")
    reader.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "order_book_log")
