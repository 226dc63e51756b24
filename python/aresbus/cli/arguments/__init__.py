"""What may be typed: every verb with its arguments, a family of verbs a file.

Owns the program's own help and which families there are. Imports argparse alone, since ``aresbus --help`` waits for it.
"""

import argparse
from collections.abc import Sequence

from aresbus._typing import override
from aresbus.cli.arguments import (
    example,
    feed,
    history,
    legacy,
    look,
    operate,
    parked,
    rebuild,
    replay,
    rescue,
    retention,
    schema,
    snapshots,
)
from aresbus.cli.arguments.kinds import Verbs

__all__ = ["parse"]

FAMILIES = (
    feed,
    example,
    look,
    history,
    legacy,
    operate,
    rescue,
    parked,
    replay,
    rebuild,
    retention,
    schema,
    snapshots,
)
DESCRIPTION = "A durable event bus: record events, read them back, prove that they are whole."
EPILOG = """\
exit codes: 0 done · 1 done, with findings · 2 could not · 130 interrupted

first steps:
  aresbus demo                                       real market data, a crash, nothing lost
  aresbus example                                    programs to run, read and begin from
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
    for family in FAMILIES:
        family.declare(verbs)
    arguments = parser.parse_args(_joined(argv, verbs))
    if arguments.verb == "read":
        look.check_read(parser, arguments)
    if arguments.verb == "tail":
        look.check_tail(parser, arguments)
    if arguments.verb == "export":
        legacy.check_export(parser, arguments)
    return arguments


def _joined(argv: Sequence[str], verbs: Verbs) -> Sequence[str]:
    """A verb of two words, like ``audit export``, as the one argument that it is declared as."""
    words = " ".join(argv[:2])
    return [words, *argv[2:]] if words in verbs.choices else argv


class _Version(argparse.Action):
    """Prints the version of the compiled module, loaded only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:  # noqa: A002
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    @override
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from aresbus._core import FORMAT_VERSION, __version__  # noqa: PLC0415 - heavy, needed here alone

        print(f"aresbus {__version__} (log format {FORMAT_VERSION})")
        parser.exit()
