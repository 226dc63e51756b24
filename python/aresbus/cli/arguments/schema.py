"""The arguments of `schema` and its four actions: list, show, diff, check.

Owns their names, defaults and help texts. Imports no verb: ``--help`` waits for this file.
"""

import argparse

from aresbus.cli.arguments.kinds import Verbs, verb

__all__ = ["declare"]


def declare(verbs: Verbs) -> None:
    """Add schema."""
    parser = verb(verbs, "schema", "show, compare and check the schemas that a log records")
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    _action(actions, "list", "list what is recorded, by type and version")
    show = _action(actions, "show", "print one schema as JSON Schema")
    show.add_argument("type", metavar="TYPE", help="the event type")
    show.add_argument("--version", metavar="VERSION", help="the schema version (default: the newest)")
    diff = _action(
        actions, "diff", "compare two versions: who can read whose data, and if not, for which fields"
    )
    diff.description = (
        "Compare two versions of a type. Either may be a file with a JSON Schema that is not recorded yet. Exit code 1 "
        "where the second cannot read data of the first."
    )
    diff.add_argument("type", metavar="TYPE", help="the event type")
    diff.add_argument("first", metavar="A", help="a recorded version, or a file")
    diff.add_argument("second", metavar="B", help="a recorded version, or a file")
    check = _action(actions, "check", "check events or bare data in a file against what is recorded")
    check.description = (
        "Check a file of JSON, one value or one a line. Without --type each is an event, as `aresbus read --json` "
        "prints it; with --type each is the data of one. Exit code 1 where something does not fit."
    )
    check.add_argument("file", metavar="FILE.json", help="what to check; - reads standard input")
    check.add_argument("--type", metavar="TYPE", help="the values are data of this event type")
    check.add_argument("--version", metavar="VERSION", help="check against this version, whatever events say")


def _action(actions: Verbs, name: str, does: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(
        name, help=does, description=f"{does[0].upper()}{does[1:]}.", allow_abbrev=False
    )
    # SUPPRESS: an option given before the action keeps its value.
    for option, told in (("--json", "print JSON, for programs"), ("--debug", "show an error's traceback")):
        parser.add_argument(option, action="store_true", default=argparse.SUPPRESS, help=told)
    parser.add_argument("log", metavar="DIR", help="the log")
    return parser
