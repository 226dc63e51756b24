"""``aresbus subscriptions``: every durable subscription of a log, how far it came and how much of it is parked.

Owns the table. Opens everything for reading, so it answers while all of them run.
"""

from argparse import Namespace
from typing import Any

from aresbus.cli.terminal import count, print_table, write_json
from aresbus.log import open as open_log
from aresbus.readable import printable
from aresbus.subscriptions.checkpoints import SubscriptionLog, names_in

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Print one line each."""
    with open_log(arguments.log, mode="r") as log:
        last = log.last_seq
        found: list[dict[str, Any]] = []
        for name in names_in(log.path or ""):
            memory = SubscriptionLog(log, name, mode="r")
            passed = None if memory.passed is None else memory.passed.seq
            lag = (-1 if last is None else last) - (-1 if passed is None else passed)
            found.append({"name": name, "checkpoint": passed, "lag": max(0, lag), "parked": len(memory)})
            memory.close()
    if arguments.json:
        write_json(found)
        return 0
    rows = [
        [
            printable(one["name"]),
            "-" if one["checkpoint"] is None else str(one["checkpoint"]),
            count(one["lag"]),
            count(one["parked"]),
        ]
        for one in found
    ]
    print_table(rows, heads=("name", "checkpoint", "lag", "parked"), right=(1, 2, 3))
    return 0
