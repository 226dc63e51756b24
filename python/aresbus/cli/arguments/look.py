"""The arguments of the verbs that look at a log: read, tail, info, verify, head, prove; and explain.

Owns their names, defaults, help texts, and which options of `read` and `tail` exclude each other. Imports no verb: ``--help``
waits for this file.
"""

import argparse

from aresbus.cli.arguments.kinds import Verbs, moment, position, tag, verb

__all__ = ["add_filters", "check_read", "check_tail", "declare"]

TAIL_LIMIT = 10


def declare(verbs: Verbs) -> None:
    """Add read, tail, info, verify, head, prove and explain."""
    for one in (_read, _tail, _info, _verify, _head, _prove, _explain):
        one(verbs)


def _read(verbs: Verbs) -> None:
    parser = verb(verbs, "read", "print events, oldest or newest first")
    parser.add_argument("log", metavar="DIR", help="the log")
    add_filters(parser)
    parser.add_argument("--limit", type=position, metavar="N", help="at most this many events")
    parser.add_argument(
        "--backward", action="store_true", help="the newest event first; --limit counts from it"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="wait for new events until Ctrl-C")
    parser.add_argument("--raw", action="store_true", help="print the stored payloads alone, one a line")


def _tail(verbs: Verbs) -> None:
    parser = verb(verbs, "tail", "print the newest events, and with --follow what comes")
    parser.description = (
        "Print the newest events that match, the oldest of them first; with --follow then wait for more until Ctrl-C, by "
        "whatever process appends them. Events that expire before they could be printed are named on stderr."
    )
    parser.add_argument("log", metavar="DIR", help="the log; whoever writes it is not disturbed")
    parser.add_argument(
        "-n",
        type=position,
        metavar="N",
        dest="limit",
        default=TAIL_LIMIT,
        help="so many events (default: %(default)s)",
    )
    add_filters(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="wait for new events until Ctrl-C")
    parser.set_defaults(raw=False)


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add what says which events: positions, times, types, aggregate, conversation, source, tags."""
    parser.add_argument("--after", type=position, metavar="SEQ", help="begin behind this position")
    parser.add_argument("--up-to", type=position, metavar="SEQ", help="end with this position")
    parser.add_argument(
        "--since", type=moment, metavar="TIME", help="from this time on: ISO 8601 with zone, or ns"
    )
    parser.add_argument("--until", type=moment, metavar="TIME", help="before this time")
    parser.add_argument(
        "--time", choices=("append", "event"), default="append", help="which time (default: %(default)s)"
    )
    parser.add_argument(
        "--type",
        action="append",
        metavar="TYPE",
        dest="types",
        help="this type only, or with 'order_*' every type that begins so; may be repeated",
    )
    parser.add_argument("--aggregate", metavar="ID", help="this aggregate only")
    parser.add_argument("--correlation", metavar="ID", help="this conversation only")
    parser.add_argument("--source", metavar="NAME", help="this source only; '' is none")
    parser.add_argument(
        "--tag",
        type=tag,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="tags",
        help="with this tag only; may be repeated, all must be there",
    )
    parser.add_argument("--durable", action="store_true", help="only what survives power loss")


def check_read(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse options of `read` that exclude each other."""
    check_tail(parser, arguments)
    if arguments.follow and arguments.backward:
        parser.error("--follow waits for what is to come, --backward begins with the newest: choose one")
    if arguments.raw and arguments.json:
        parser.error("--raw prints payloads alone, --json whole events: choose one")


def check_tail(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse options of `tail` that exclude each other; `read` has them too."""
    if arguments.follow and not all(
        value is None for value in (arguments.up_to, arguments.since, arguments.until)
    ):
        parser.error("--follow waits for what is to come: no --up-to, --since or --until ends it")
    if arguments.follow and arguments.durable:
        parser.error("--follow shows what is committed; --durable reads what is there")
    if len(dict(arguments.tags)) < len(set(arguments.tags)):
        parser.error("--tag: an event has one value for each key, so two of one key match nothing")


def _info(verbs: Verbs) -> None:
    parser = verb(verbs, "info", "say what a log holds and in which state it is")
    parser.add_argument("log", metavar="DIR", help="the log")


def _verify(verbs: Verbs) -> None:
    parser = verb(verbs, "verify", "check every checksum, position and aggregate chain of a log")
    parser.add_argument("log", metavar="DIR", help="the log")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--against",
        metavar="HEAD",
        help="also find any change since this head, or these, was made: a file, or the head itself",
    )
    which.add_argument(
        "--since", type=moment, metavar="TIME", help="pass over segments that were full before this time"
    )


def _head(verbs: Verbs) -> None:
    parser = verb(verbs, "head", "print the head of a log, which vouches for everything durable in it")
    parser.add_argument("log", metavar="DIR", help="the log")


def _prove(verbs: Verbs) -> None:
    parser = verb(verbs, "prove", "print the proof that an event is among those a head speaks of, as JSON")
    parser.add_argument("log", metavar="DIR", help="the log")
    parser.add_argument("seq", type=position, metavar="SEQ", help="position of the event")
    parser.add_argument(
        "--against", metavar="HEAD", help="a head made before, or a file of one (default: that of now)"
    )


def _explain(verbs: Verbs) -> None:
    parser = verb(
        verbs, "explain", "explain an error code: what happened, what it means for your data, what to do"
    )
    parser.add_argument(
        "code", metavar="CODE", nargs="?", help="like AB0006 or CorruptionError; none lists them all"
    )
