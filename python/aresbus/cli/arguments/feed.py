"""The arguments of the verbs that fill a log: demo and record.

Owns their names, defaults and help texts. Imports no verb: ``--help`` waits for this file.
"""

from aresbus.cli.arguments.kinds import Verbs, source, verb

__all__ = ["declare"]


def declare(verbs: Verbs) -> None:
    """Add demo and record."""
    _demo(verbs)
    _record(verbs)


def _demo(verbs: Verbs) -> None:
    parser = verb(verbs, "demo", "record real market data, crash on purpose, show that nothing is lost")
    parser.add_argument(
        "--log", metavar="DIR", help="where to keep the log (default: a new temporary folder)"
    )
    parser.add_argument("--seed", type=int, help="repeat a run: the seed it printed places the crash")


def _record(verbs: Verbs) -> None:
    parser = verb(verbs, "record", "append a captured feed to a log, message by message")
    parser.description = (
        "Append a captured feed to a log, message by message. A line holds the receive time in ns since 1970 (UTC), "
        "one space, and the message as JSON; gzip is recognised. The message is stored byte for byte; its type is the "
        "text between the first and second @ of its feed name, else 'snapshot'; its aggregate SOURCE:SYMBOL; its "
        "event time the receive time. A bad line is named and counted, the rest goes on (exit code 1)."
    )
    parser.add_argument("file", metavar="FILE", help="the capture; - reads standard input")
    parser.add_argument("--log", metavar="DIR", required=True, help="the log; made if it is not there")
    parser.add_argument(
        "--source", metavar="NAME", type=source, required=True, help="where the feed comes from"
    )
    parser.add_argument(
        "--durability",
        choices=("none", "interval", "group", "always"),
        default="interval",
        help="what an append waits for (default: %(default)s)",
    )
