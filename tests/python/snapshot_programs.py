"""What a user's program would have: reducers and an aggregate class, named to the command line in tests."""

from aresbus import Reducers
from order_support import Order

__all__ = ["Order", "counting", "reducers"]


def count(state, event):
    state["n"] = state.get("n", 0) + 1


def counting(version):
    """Every event of an order counts."""
    made = Reducers()
    made.register(None, count, version, category="order")
    return made


reducers = counting(1)
