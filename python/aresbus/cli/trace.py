"""``aresbus trace``: one conversation as a tree, with the time of each hop.

Owns the exit code for a conversation that no event belongs to. Opens as a reader; the tree is tracing's.
"""

import sys
from argparse import Namespace

from aresbus.cli.terminal import write_json
from aresbus.log import open as open_log
from aresbus.readable import printable
from aresbus.tracing import trace

__all__ = ["run"]

COULD_NOT = 2


def run(arguments: Namespace) -> int:
    """Print one trace; 2 where the log has no event of the conversation."""
    with open_log(arguments.log, mode="r") as log:
        found = trace(log, arguments.correlation_id)
    if not found:
        text = f"no event of {arguments.log} has the correlation id {arguments.correlation_id}"
        print(f"aresbus: {printable(text)}", file=sys.stderr)
        return COULD_NOT
    if arguments.json:
        write_json(found.to_dict())
    else:
        print(found.text())
    return 0
