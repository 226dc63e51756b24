"""``aresbus snapshots drop``: remove snapshots, on record.

Owns that one word. Which may go, and the record, are snapshot_acts'.
"""

from argparse import Namespace

from aresbus.cli.snapshots_list import tell
from aresbus.cli.terminal import counted
from aresbus.log import open as open_log
from aresbus.snapshot_acts import drop_snapshots, list_snapshots

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Do it, and say which went; 2 while a process writes the log."""
    # For reading first: opening for writing would make a log where there is none.
    with open_log(arguments.log, mode="r") as log:
        before = len(list_snapshots(log, arguments.aggregate))
    with open_log(arguments.log, reason=arguments.reason) as log:
        dropped = drop_snapshots(
            log,
            arguments.aggregate,
            damaged_only=arguments.damaged,
            force=arguments.force,
            reason=arguments.reason,
        )
    tell(dropped, as_json=arguments.json)
    if not arguments.json:
        print(f"{len(dropped):,} of {counted(before, 'snapshot')} dropped")
    return 0
