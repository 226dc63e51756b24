"""``aresbus head``: one line of JSON that vouches for everything durable in a log.

Owns nothing but the line; it is the same with ``--json``, since programs and people keep the same thing.
"""

from argparse import Namespace

from aresbus.log import open as open_log

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Print the head of one log."""
    with open_log(arguments.log, mode="r") as log:
        print(log.head())
    return 0
