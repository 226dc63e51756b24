"""``aresbus hold list``: the holds in force on a log, each with its query, its reason and since when.

Owns the table. Opens the log for reading, so it answers while a bot runs.
"""

import dataclasses
from argparse import Namespace

from aresbus.cli.terminal import json_text, print_table, write_json
from aresbus.log import open as open_log
from aresbus.readable import printable, time_text

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Print one line each."""
    with open_log(arguments.log, mode="r") as log:
        holds = log.holds
    if arguments.json:
        write_json([dataclasses.asdict(one) for one in holds])
        return 0
    rows = [
        [printable(one.name), time_text(one.since_ns), printable(json_text(one.query)), printable(one.reason)]
        for one in holds
    ]
    print_table(rows, heads=("name", "since", "query", "reason"))
    return 0
