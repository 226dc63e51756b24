"""The arguments of the verbs that ask what happened: trace, latency, audit, audit export.

Owns their names, defaults and help texts. Imports no verb: ``--help`` waits for this file.
"""

import argparse

from aresbus.cli.arguments.kinds import Verbs, moment, position, verb

__all__ = ["declare"]


def declare(verbs: Verbs) -> None:
    """Add trace, latency, audit and audit export."""
    for one in (_trace, _latency, _audit, _audit_export):
        one(verbs)


def _trace(verbs: Verbs) -> None:
    parser = verb(
        verbs, "trace", "show which event caused which in one conversation, and how long each hop took"
    )
    parser.add_argument("log", metavar="DIR", help="the log")
    parser.add_argument(
        "correlation_id",
        metavar="CORRELATION_ID",
        help="that of the conversation, or the id of the event that began it",
    )


def _latency(verbs: Verbs) -> None:
    parser = verb(verbs, "latency", "say how long it takes from events of one type to those of another")
    parser.add_argument("log", metavar="DIR", help="the log")
    parser.add_argument("first", metavar="FIRST", help="the type that begins a pair")
    parser.add_argument("second", metavar="SECOND", help="the type that ends it")
    parser.add_argument(
        "--by",
        choices=("correlation", "causation", "aggregate"),
        default="correlation",
        help="what a pair has in common: the conversation, the first being the cause, the aggregate (default: %(default)s)",
    )
    parser.add_argument("--after", type=position, metavar="SEQ", help="begin behind this position")
    parser.add_argument("--up-to", type=position, metavar="SEQ", help="end with this position")
    _times(parser, "appended")


def _audit(verbs: Verbs) -> None:
    parser = verb(verbs, "audit", "list what was done to a log, by whom, why, and how it ended")
    parser.add_argument("log", metavar="DIR", help="the log")
    parser.add_argument("--act", metavar="NAME", help="this act only, like log.open")
    parser.add_argument("--actor", metavar="USER", help="acts of this name or account only")
    parser.add_argument(
        "--outcome",
        choices=("done", "failed", "interrupted", "open"),
        help="acts that ended so; open: no outcome yet",
    )
    _times(parser, "begun")


def _audit_export(verbs: Verbs) -> None:
    parser = verb(
        verbs, "audit export", "write the acts on a log into files, with a manifest of their digests"
    )
    parser.add_argument("log", metavar="DIR", help="the log")
    parser.add_argument("--out", metavar="FOLDER", required=True, help="a new folder for the files")
    parser.add_argument("--csv", action="store_true", help="also as CSV, for spreadsheets")
    _times(parser, "begun")


def _times(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--since", type=moment, metavar="TIME", help=f"{what} from this time on: ISO 8601 with zone, or ns"
    )
    parser.add_argument("--until", type=moment, metavar="TIME", help=f"{what} before this time")
