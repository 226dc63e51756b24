"""What may be typed: every verb with its arguments, in one place.

Owns names, defaults and help texts. Imports argparse alone, since ``aresbus --help`` waits for this file. Invariant: a
value that a verb would have to refuse for its form alone is refused here, with what it takes.
"""

import argparse
from collections.abc import Sequence
from datetime import datetime

from aresbus._typing import override

__all__ = ["parse"]

MAX_SOURCE_BYTES = 255
DESCRIPTION = "A durable event bus: record events, read them back, prove that they are whole."
EPILOG = """\
exit codes: 0 done · 1 done, with findings · 2 could not · 130 interrupted

first steps:
  aresbus demo                                       real market data, a crash, nothing lost
  aresbus record FILE --log DIR --source NAME        one feed into a log
  aresbus read DIR --type trade --limit 5            and back
"""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments as a namespace with ``verb``, ``json`` and ``debug``; exits with 2 on a usage error."""
    parser = argparse.ArgumentParser(
        prog="aresbus",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    verbs = parser.add_subparsers(dest="verb", metavar="verb", required=True)
    for declare in (_demo, _record, _read, _info, _verify, _explain):
        declare(verbs)
    arguments = parser.parse_args(argv)
    if arguments.verb == "read":
        _check_read(parser, arguments)
    return arguments


class _Version(argparse.Action):
    """Prints the version of the compiled module, loaded only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:  # noqa: A002
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    @override
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from aresbus._core import FORMAT_VERSION, __version__  # noqa: PLC0415 - heavy, needed here alone

        print(f"aresbus {__version__} (log format {FORMAT_VERSION})")
        parser.exit()


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, does: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        name, help=does, description=f"{does[0].upper()}{does[1:]}.", allow_abbrev=False
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _demo(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _verb(verbs, "demo", "record real market data, crash on purpose, show that nothing is lost")
    parser.add_argument(
        "--log", metavar="DIR", help="where to keep the log (default: a new temporary folder)"
    )
    parser.add_argument("--seed", type=int, help="repeat a run: the seed it printed places the crash")


def _record(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _verb(verbs, "record", "append a captured feed to a log, message by message")
    parser.description = (
        "Append a captured feed to a log, message by message. A line holds the receive time in ns since 1970 (UTC), "
        "one space, and the message as JSON; gzip is recognised. The message is stored byte for byte; its type is the "
        "text between the first and second @ of its feed name, else 'snapshot'; its aggregate SOURCE:SYMBOL; its "
        "event time the receive time. A bad line is named and counted, the rest goes on (exit code 1)."
    )
    parser.add_argument("file", metavar="FILE", help="the capture; - reads standard input")
    parser.add_argument("--log", metavar="DIR", required=True, help="the log; made if it is not there")
    parser.add_argument(
        "--source", metavar="NAME", type=_source, required=True, help="where the feed comes from"
    )
    parser.add_argument(
        "--durability",
        choices=("none", "interval", "group", "always"),
        default="interval",
        help="what an append waits for (default: %(default)s)",
    )


def _read(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _verb(verbs, "read", "print events in the order of the log")
    parser.add_argument("log", metavar="DIR", help="the log")
    parser.add_argument("--after", type=_position, metavar="SEQ", help="begin behind this position")
    parser.add_argument("--up-to", type=_position, metavar="SEQ", help="end with this position")
    parser.add_argument(
        "--since", type=_time, metavar="TIME", help="from this time on: ISO 8601 with zone, or ns"
    )
    parser.add_argument("--until", type=_time, metavar="TIME", help="before this time")
    parser.add_argument(
        "--time", choices=("append", "event"), default="append", help="which time (default: %(default)s)"
    )
    parser.add_argument("--limit", type=_position, metavar="N", help="at most this many events")
    parser.add_argument(
        "--type", action="append", metavar="TYPE", dest="types", help="this type only; may be repeated"
    )
    parser.add_argument("--aggregate", metavar="ID", help="this aggregate only")
    parser.add_argument("--durable", action="store_true", help="only what survives power loss")
    parser.add_argument("-f", "--follow", action="store_true", help="wait for new events until Ctrl-C")
    parser.add_argument("--raw", action="store_true", help="print the stored payloads alone, one a line")


def _check_read(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if arguments.follow and not all(
        value is None for value in (arguments.up_to, arguments.since, arguments.until)
    ):
        parser.error(
            "--follow waits for what is to come: it goes with --after, --type, --aggregate and --limit alone"
        )
    if arguments.follow and arguments.durable:
        parser.error("--follow shows what is committed; --durable reads what is there")
    if arguments.raw and arguments.json:
        parser.error("--raw prints payloads alone, --json whole events: choose one")


def _info(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _verb(verbs, "info", "say what a log holds and in which state it is")
    parser.add_argument("log", metavar="DIR", help="the log")


def _verify(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _verb(verbs, "verify", "check every checksum, position and aggregate chain of a log")
    parser.add_argument("log", metavar="DIR", help="the log")


def _explain(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _verb(
        verbs, "explain", "explain an error code: what happened, what it means for your data, what to do"
    )
    parser.add_argument(
        "code", metavar="CODE", nargs="?", help="like AB0006 or CorruptionError; none lists them all"
    )


def _source(text: str) -> str:
    if not 1 <= len(text.encode()) <= MAX_SOURCE_BYTES:
        raise argparse.ArgumentTypeError(f"takes 1 to {MAX_SOURCE_BYTES} bytes of text")
    return text


def _position(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"takes a whole number from 0 on, not {text!r}")
    return int(text)


def _time(text: str) -> datetime | int:
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"takes a time like 2024-08-08T23:54:13Z or ns since 1970, not {text!r}"
        ) from None
    if time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text} names no zone: write {text}Z for UTC")
    return time
