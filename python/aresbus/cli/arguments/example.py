"""The arguments of the verb that runs the shipped examples.

Owns their names, defaults and help texts. Imports no verb: ``--help`` waits for this file.
"""

from aresbus.cli.arguments.kinds import Verbs, verb

__all__ = ["declare"]


def declare(verbs: Verbs) -> None:
    """Add example."""
    parser = verb(verbs, "example", "list the shipped examples, or run one")
    parser.add_argument("name", metavar="NAME", nargs="?", help="which one (default: list them)")
    parser.add_argument(
        "--log",
        metavar="DIR",
        help="the log to run it on, made if need be (default: in a new temporary folder)",
    )
