"""The arguments of the verbs for who runs a bus: top, doctor and bench.

Owns their names, defaults and help texts. Imports no verb: ``--help`` waits for this file.
"""

import argparse
import math

from aresbus.cli.arguments.kinds import Verbs, position, verb

__all__ = ["declare"]

LONGEST_INTERVAL_S = 3_600


def declare(verbs: Verbs) -> None:
    """Add top, doctor and bench."""
    _top(verbs)
    _doctor(verbs)
    _bench(verbs)


def _top(verbs: Verbs) -> None:
    parser = verb(verbs, "top", "watch a log: rates, newest events, segments, what was done to it")
    parser.add_argument("log", metavar="DIR", help="the log; whoever writes it is not disturbed")
    parser.add_argument("--once", action="store_true", help="look once, over one interval, and end")
    parser.add_argument(
        "--interval",
        type=_seconds,
        default=1.0,
        metavar="S",
        help="seconds between looks (default: %(default)s)",
    )


def _doctor(verbs: Verbs) -> None:
    parser = verb(
        verbs, "doctor", "examine configuration, log and machine, and say what should be done about them"
    )
    parser.add_argument(
        "log", metavar="DIR", nargs="?", help="the log (default: the configured storage_path)"
    )


def _bench(verbs: Verbs) -> None:
    parser = verb(verbs, "bench", "measure what the hot path costs on this machine, in half a minute")
    parser.description = (
        "Measure what appending, publishing and replaying cost on this machine, each beside a floor that is measured in the "
        "same run: compare the ratios, since nanoseconds are the machine's. Uses some hundred MiB of DIR and leaves nothing there."
    )
    parser.add_argument(
        "folder",
        metavar="DIR",
        nargs="?",
        default=".",
        help="a folder on the disk that counts (default: this one)",
    )
    parser.add_argument(
        "--events", type=_positive, default=10_000, metavar="N", help="a round (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=_positive, default=9, metavar="N", help="that count (default: %(default)s)"
    )


def _positive(text: str) -> int:
    """A number from 1 on."""
    number = position(text)
    if not number:
        raise argparse.ArgumentTypeError("takes a whole number from 1 on, not 0")
    return number


def _seconds(text: str) -> float:
    """A number of seconds."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= LONGEST_INTERVAL_S:
        raise argparse.ArgumentTypeError(f"takes seconds above 0, up to {LONGEST_INTERVAL_S:,}, not {text!r}")
    return seconds
