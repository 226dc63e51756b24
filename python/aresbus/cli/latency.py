"""``aresbus latency``: how long it takes from one event type to another, as counts, percentiles and bars.

Owns nothing but the way from arguments to the report. Opens as a reader.
"""

from argparse import Namespace

from aresbus.cli.terminal import write_json
from aresbus.latency import latency_between
from aresbus.log import open as open_log

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Print the report of one pass over a log."""
    with open_log(arguments.log, mode="r") as log:
        report = latency_between(
            log,
            arguments.first,
            arguments.second,
            since=arguments.since,
            until=arguments.until,
            after=arguments.after,
            up_to=arguments.up_to,
            by=arguments.by,
        )
    if arguments.json:
        write_json(report.to_dict())
    else:
        print(report.text())
    return 0
