"""The arguments of the verbs about what is kept: retention plan, retention apply, hold add, hold list, hold release.

Owns their names, defaults and help texts. Imports no verb: ``--help`` waits for this file.
"""

import argparse

from aresbus.cli.arguments.kinds import Verbs, moment, position, tag, verb

__all__ = ["declare"]


def declare(verbs: Verbs) -> None:
    """Add retention plan, retention apply, hold add, hold list and hold release."""
    plan = verb(
        verbs, "retention plan", "say which segments would go, and why the rest stays; changes nothing"
    )
    _policy(plan)
    apply = verb(verbs, "retention apply", "drop what has expired: one pass, at most a tenth of the segments")
    _policy(apply)
    apply.add_argument("--reason", default="", help="recorded in the audit log")
    _holds(verbs)


def _policy(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        f"{parser.description} Legal holds and durable subscriptions that have yet to pass keep a segment. Reducers live in "
        "programs: what a bus would make a snapshot of first is not known here, so let the bus do it where it has states."
    )
    parser.add_argument("log", metavar="DIR", help="the log")
    parser.add_argument("--days", type=float, metavar="N", help="segments whose last event is older go")
    parser.add_argument(
        "--bytes", type=position, metavar="N", help="the oldest go while the files are larger together"
    )
    parser.add_argument(
        "--events", type=position, metavar="N", help="the oldest go as long as so many are left"
    )


def _holds(verbs: Verbs) -> None:
    add = verb(
        verbs, "hold add", "keep the events that match from expiring, also while a bot runs; on record"
    )
    add.add_argument("log", metavar="DIR", help="the log")
    add.add_argument("name", metavar="NAME", help="a name of its own")
    add.add_argument("--reason", required=True, help="why; recorded in the audit log")
    add.add_argument("--after", type=position, metavar="SEQ", help="behind this position")
    add.add_argument("--up-to", type=position, metavar="SEQ", help="up to this position")
    add.add_argument(
        "--since", type=moment, metavar="TIME", help="from this time on: ISO 8601 with zone, or ns"
    )
    add.add_argument("--until", type=moment, metavar="TIME", help="before this time")
    add.add_argument(
        "--type", action="append", metavar="TYPE", dest="types", help="this type; may be repeated"
    )
    add.add_argument("--aggregate", metavar="ID", help="this aggregate")
    add.add_argument("--correlation", metavar="ID", help="this conversation")
    add.add_argument("--source", metavar="NAME", help="this source")
    add.add_argument(
        "--tag", type=tag, action="append", default=[], metavar="KEY=VALUE", dest="tags", help="with this tag"
    )
    listed = verb(verbs, "hold list", "list the holds in force")
    listed.add_argument("log", metavar="DIR", help="the log")
    release = verb(verbs, "hold release", "end a hold; on record")
    release.add_argument("log", metavar="DIR", help="the log")
    release.add_argument("name", metavar="NAME", help="the hold")
    release.add_argument("--reason", default="", help="recorded in the audit log")
