"""``aresbus snapshots list``: which snapshots a log has, of what, and whether they are intact.

Owns the table, also for the other verbs about snapshots. Opens everything for reading, so it answers beside the writer.
"""

from argparse import Namespace
from collections.abc import Sequence

from aresbus.cli.terminal import print_table, write_json
from aresbus.log import open as open_log
from aresbus.readable import printable
from aresbus.snapshot_acts import CheckedSnapshot, list_snapshots

__all__ = ["run", "tell"]

FOUND = 1


def run(arguments: Namespace) -> int:
    """Print one line each; 1 if one is damaged."""
    with open_log(arguments.log, mode="r") as log:
        found = list_snapshots(log, arguments.aggregate)
    tell(found, as_json=arguments.json)
    return FOUND if any(one.is_fault for one in found) else 0


def tell(found: Sequence[CheckedSnapshot], *, as_json: bool) -> None:
    """Print them."""
    if as_json:
        write_json([one.to_dict() for one in found])
        return
    rows = [
        [
            printable(one.aggregate_id or one.file_name),
            str(one.seq),
            "" if one.aggregate_version is None else str(one.aggregate_version),
            one.kind or "",
            "" if one.taken is None else one.taken.isoformat(timespec="seconds"),
            one.verdict,
            printable(one.reason),
        ]
        for one in found
    ]
    heads = ("aggregate", "seq", "version", "kind", "taken", "verdict", "reason")
    print_table(rows, heads=heads, right=(1, 2))
