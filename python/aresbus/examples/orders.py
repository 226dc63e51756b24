"""The native door, without asyncio: append with an expected version, read one aggregate back, follow a log.

Usage: python orders.py [LOG-FOLDER]
"""

import sys

import aresbus
from aresbus import Expected, VersionConflictError


def main(folder: str) -> None:
    """Place an order, fill it, and be told when somebody else was faster."""
    with aresbus.open(folder, durability="group") as log:
        order = f"order-{0 if log.last_seq is None else log.last_seq + 1}"
        placed = log.append("order_placed", {"qty": 3}, aggregate_id=order, expected_version=Expected.NONE)
        version = placed.aggregate_version or 0  # there is one, since an aggregate was named
        log.append("order_filled", {"qty": 2}, aggregate_id=order, expected_version=version)
        try:
            # Still believing that nothing happened since it was placed:
            log.append("order_cancelled", {}, aggregate_id=order, expected_version=version)
        except VersionConflictError as conflict:
            print(f"not cancelled: {order} is at version {conflict.actual}, by {conflict.conflicting_type}")
        for event in log.read(aggregate_id=order):
            print(
                f"{event.seq} {event.aggregate_id}@{event.aggregate_version} {event.event_type} {event.data}"
            )
        print(f"durable up to {log.durable_seq}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "orders_log")
