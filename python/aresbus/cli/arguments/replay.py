"""The arguments of the verb that replays a log.

Owns their names, defaults and help texts. Imports no verb: ``--help`` waits for this file.
"""

import argparse
import math

from aresbus.cli.arguments.kinds import Verbs, moment, named, position, verb

__all__ = ["declare"]


def declare(verbs: Verbs) -> None:
    """Add replay."""
    parser = verb(verbs, "replay", "play a range of a log again, paced or at full speed, through a strategy")
    parser.description = (
        "Play a range of a log again. Without --strategy the events are printed when they are due. With it they go "
        "through the strategy, and what it publishes is printed, then how many there were and the digest of it all: "
        "equal digests, equal decisions. The log is only read; side effects marked with @sink are held back."
    )
    parser.add_argument("log", metavar="DIR", help="the log")
    parser.add_argument("--after", type=position, metavar="SEQ", help="begin behind this position")
    parser.add_argument("--up-to", type=position, metavar="SEQ", help="end with this position")
    parser.add_argument(
        "--since", type=moment, metavar="TIME", help="from this time on: ISO 8601 with zone, or ns"
    )
    parser.add_argument("--until", type=moment, metavar="TIME", help="before this time")
    parser.add_argument(
        "--time",
        choices=("append", "event"),
        default="append",
        help="which time the range, the clock and the pace go by (default: %(default)s)",
    )
    parser.add_argument(
        "--type", action="append", metavar="TYPE", dest="types", help="this type only; may be repeated"
    )
    parser.add_argument(
        "--without", action="append", metavar="TYPE", default=[], help="not this type; may be repeated"
    )
    parser.add_argument("--aggregate", metavar="ID", help="this aggregate only")
    parser.add_argument(
        "--speed", type=speed, metavar="N", help="1 as recorded, 60 a minute a second (default: no waiting)"
    )
    parser.add_argument(
        "--strategy",
        metavar="MODULE:OBJECT",
        type=named,
        help="called with the bus: a module on the path or a file, and a class or function in it",
    )
    parser.add_argument("--digest", action="store_true", help="print no events, only the counts and digests")


def speed(text: str) -> float:
    """A factor of time."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"takes a number above 0, not {text!r}")
    return number
