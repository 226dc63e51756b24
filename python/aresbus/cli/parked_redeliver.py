"""``aresbus parked redeliver``: let a subscription try parked deliveries again when it starts next.

Owns that one word. What it takes to act on parked deliveries is parked's.
"""

from argparse import Namespace

from aresbus.cli.parked import act
from aresbus.subscriptions.checkpoints import SubscriptionLog

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Do it, on record."""
    return act(arguments, "redeliver", SubscriptionLog.wish)
