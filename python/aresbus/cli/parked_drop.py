"""``aresbus parked drop``: give up parked deliveries; their events stay in the log.

Owns that one word. What it takes to act on parked deliveries is parked's.
"""

from argparse import Namespace

from aresbus.cli.parked import act

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Do it, on record."""
    return act(arguments, "drop", lambda memory, place: memory.resolve(place, "dropped"))
