"""The arguments of the verbs that keep a log safe and get one back: backup, restore, salvage, repair.

Owns their names, defaults and help texts. Imports no verb: ``--help`` waits for this file.
"""

from aresbus.cli.arguments.kinds import Verbs, moment, position, verb

__all__ = ["declare"]


def declare(verbs: Verbs) -> None:
    """Add backup, restore, salvage and repair."""
    for one in (_backup, _restore, _salvage, _repair):
        one(verbs)


def _backup(verbs: Verbs) -> None:
    parser = verb(verbs, "backup", "take a verified backup of a log, also while it is written")
    parser.description = (
        "Take a backup of a log into a folder, also while it is written: all events that are durable, subscriptions, "
        "snapshots, schemas, audit trails. A folder that holds an earlier backup of the same log gets what is new; the "
        "earlier one counts until the new one is whole. `aresbus verify DEST` checks it at any time."
    )
    parser.add_argument("log", metavar="LOG", help="the log; whoever writes it is not disturbed")
    parser.add_argument("dest", metavar="DEST", help="the folder of the backup, outside the log")
    parser.add_argument(
        "--no-verify",
        dest="verify",
        action="store_false",
        help="do not read the backup again before it counts",
    )


def _restore(verbs: Verbs) -> None:
    parser = verb(verbs, "restore", "make a log of a backup, up to a position or a time")
    parser.add_argument("backup", metavar="BACKUP", help="the folder of the backup")
    parser.add_argument("dest", metavar="DEST", help="the log to make: a new or empty folder")
    ends = parser.add_mutually_exclusive_group()
    ends.add_argument(
        "--to", type=position, metavar="SEQ", help="end with this position (default: all there is)"
    )
    ends.add_argument(
        "--to-time",
        type=moment,
        metavar="TIME",
        help="end before the first event appended after this time: ISO 8601 with zone, or ns",
    )


def _salvage(verbs: Verbs) -> None:
    parser = verb(
        verbs, "salvage", "copy out every event of a damaged log that still reads, and list what does not"
    )
    parser.add_argument("log", metavar="LOG", help="the damaged log; it is only read")
    parser.add_argument(
        "out", metavar="OUT", help="the log to make, or a file that ends in .jsonl: one event a line"
    )
    parser.add_argument(
        "--quarantine",
        action="store_true",
        help="search also what recovery or an accepted loss has set aside",
    )


def _repair(verbs: Verbs) -> None:
    parser = verb(
        verbs, "repair", "rebuild a lost META, or give up what lies behind damage, so that a log opens"
    )
    parser.description = (
        "Rebuild the META of a log from its segments, where it is lost or damaged in both copies. With --accept-loss, end "
        "a damaged log where it last reads: what lies behind goes to quarantine/, and nothing is deleted. Both are "
        "recorded in the audit trail."
    )
    parser.add_argument("log", metavar="LOG", help="the log; no other process may write it")
    parser.add_argument("--accept-loss", action="store_true", help="give up every event behind the damage")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="with --accept-loss: say what would be given up, change nothing",
    )
    parser.add_argument("--reason", default="", metavar="TEXT", help="recorded in the audit trail")
