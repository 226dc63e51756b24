"""``aresbus retention apply``: one pass of retention over a log that nobody writes, on record.

Owns what is said of it. What goes is retention's to say, the same as ``retention plan`` prints.
"""

from argparse import Namespace

from aresbus.cli.retention_plan import policy_of
from aresbus.cli.terminal import count, counted, size, write_json
from aresbus.log import open as open_log

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Do it, and say what went."""
    policy = policy_of(arguments)
    with open_log(arguments.log, reason=arguments.reason) as log:
        dropped = log.apply_retention(log.retention_plan(policy), reason=arguments.reason)
    if arguments.json:
        write_json(dropped)
        return 0
    print(
        f"{counted(len(dropped['segments']), 'segment')} dropped: {count(dropped['event_count'])} events, "
        f"{size(dropped['file_bytes'])}; the log begins with event {dropped['first_seq']}"
    )
    return 0
