"""The arguments of the verbs about snapshots: snapshots list, snapshots check, snapshots drop.

Owns their names, defaults and help texts. Imports no verb: ``--help`` waits for this file.
"""

import argparse

from aresbus.cli.arguments.kinds import Verbs, named, verb

__all__ = ["declare"]


def declare(verbs: Verbs) -> None:
    """Add snapshots list, snapshots check and snapshots drop."""
    _list(verbs)
    _check(verbs)
    _drop(verbs)


def _list(verbs: Verbs) -> None:
    parser = verb(verbs, "snapshots list", "list the snapshots of a log; exit code 1 if one is damaged")
    _which(parser)


def _check(verbs: Verbs) -> None:
    parser = verb(verbs, "snapshots check", "fold each snapshot's state from the first event and compare")
    parser.description = (
        "Fold each snapshot's state from the first event, without any snapshot, and compare. Changes nothing, and may "
        "run beside the writer. Exit code 1 if one is damaged or differs. What nobody can fold is said to be unchecked: "
        "name your reducers, aggregate classes and version manager with --with."
    )
    _which(parser)
    parser.add_argument(
        "--with",
        dest="programs",
        action="append",
        default=[],
        type=named,
        metavar="MODULE:OBJECT",
        help="Reducers, an Aggregate class or an EventVersionManager, on the path or in a file; may be repeated",
    )


def _drop(verbs: Verbs) -> None:
    parser = verb(verbs, "snapshots drop", "remove snapshots; states are then made from events")
    parser.description = (
        "Remove snapshots; states are then made from events. Refused while a process writes the log: there call "
        "drop_snapshots() of the bus. The act is recorded in the audit log. One whose first events are no longer kept "
        "stays, because its state would be lost with it."
    )
    parser.add_argument("log", metavar="DIR", help="the log")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--aggregate", metavar="ID", help="those of this aggregate")
    which.add_argument("--all", action="store_true", help="those of all aggregates")
    parser.add_argument(
        "--damaged", action="store_true", help="only those that are damaged or of a lost event"
    )
    parser.add_argument("--force", action="store_true", help="also those whose state cannot be made again")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; goes into the audit log")


def _which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("log", metavar="DIR", help="the log")
    parser.add_argument("--aggregate", metavar="ID", help="those of this aggregate only (default: of all)")
