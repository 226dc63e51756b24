"""The arguments of the verb that rebuilds the state of an aggregate.

Owns their names, defaults and help texts. Imports no verb: ``--help`` waits for this file.
"""

from aresbus.cli.arguments.kinds import Verbs, moment, named, position, verb

__all__ = ["declare"]


def declare(verbs: Verbs) -> None:
    """Add rebuild."""
    parser = verb(verbs, "rebuild", "print the state of an aggregate, now or as it was")
    parser.description = (
        "Print the state that the events of an aggregate make, now or as it was: up to a position, a version or a time, each "
        "inclusive. The log is only read. Without --reducer the built-in one collects trades and keeps the newest performance. "
        "Exit code 2 where the aggregate has no event up to there."
    )
    parser.add_argument("log", metavar="DIR", help="the log; whoever writes it is not disturbed")
    parser.add_argument("aggregate", metavar="AGGREGATE", help="id of the aggregate")
    bounds = parser.add_mutually_exclusive_group()
    bounds.add_argument("--at", type=position, metavar="SEQ", help="as it was at this position of the log")
    bounds.add_argument("--version", type=position, metavar="N", help="as it was at this version, from 0 on")
    bounds.add_argument(
        "--time", type=moment, metavar="TIME", help="as it was at this time: ISO 8601 with zone, or ns"
    )
    parser.add_argument(
        "--reducer",
        type=named,
        metavar="MODULE:OBJECT",
        help="a function of state and event, or Reducers: on the path or in a file; a function folds from the first event",
    )
