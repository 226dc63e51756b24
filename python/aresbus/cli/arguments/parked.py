"""The arguments of the verbs about durable subscriptions: subscriptions, parked, parked redeliver, parked drop.

Owns their names, defaults and help texts. Imports no verb: ``--help`` waits for this file.
"""

from aresbus.cli.arguments.kinds import Verbs, position, verb

__all__ = ["declare"]


def declare(verbs: Verbs) -> None:
    """Add subscriptions, parked, parked redeliver and parked drop."""
    _subscriptions(verbs)
    _parked(verbs)
    _act(verbs, "parked redeliver", "let the subscription try parked deliveries again when it starts next")
    _act(verbs, "parked drop", "give up parked deliveries; the events stay in the log")


def _subscriptions(verbs: Verbs) -> None:
    parser = verb(verbs, "subscriptions", "list durable subscriptions: how far each came, how much is parked")
    parser.add_argument("log", metavar="DIR", help="the log")


def _parked(verbs: Verbs) -> None:
    parser = verb(
        verbs, "parked", "list parked deliveries, with the reason of each; exit code 1 if there are any"
    )
    parser.add_argument("log", metavar="DIR", help="the log")
    parser.add_argument("--name", help="of this subscription only (default: of all)")


def _act(verbs: Verbs, name: str, does: str) -> None:
    parser = verb(verbs, name, does)
    parser.description = (
        f"{does[0].upper()}{does[1:]}. While a process uses the subscription this is refused: it holds the memory of it; "
        "there call redeliver_parked() or drop_parked(). The act is recorded in the audit log."
    )
    parser.add_argument("log", metavar="DIR", help="the log")
    parser.add_argument("--name", required=True, help="of this subscription")
    parser.add_argument(
        "--seq", type=position, metavar="SEQ", help="the delivery of this event only (default: all)"
    )
