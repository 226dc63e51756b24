"""``aresbus hold add``: keep events from expiring, by name, filter and reason; also while a bot writes the log.

Owns how the options become a query. The hold itself is the log's.
"""

from argparse import Namespace

from aresbus.log import open as open_log
from aresbus.readable import printable

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Make it, on record."""
    query = {
        "after": arguments.after,
        "up_to": arguments.up_to,
        "since": arguments.since,
        "until": arguments.until,
        "types": arguments.types,
        "aggregate_id": arguments.aggregate,
        "correlation_id": arguments.correlation,
        "source": arguments.source,
        "tags": dict(arguments.tags) or None,
    }
    given = {key: value for key, value in query.items() if value is not None}
    with open_log(arguments.log, mode="r") as log:
        log.hold(arguments.name, given, arguments.reason)
    print(printable(f"{arguments.name}: held until it is released"))
    return 0
