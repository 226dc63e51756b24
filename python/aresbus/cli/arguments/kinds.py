"""What every verb's declaration is made of: the verb itself, and the forms its arguments take.

Owns `--json`, `--debug`, and how positions, moments and names are written. Knows no verb. Invariant: a value that a verb
would have to refuse for its form alone is refused here, with what it takes.
"""

import argparse
from datetime import datetime
from typing import TypeAlias

__all__ = ["Verbs", "moment", "named", "position", "source", "tag", "verb"]

MAX_SOURCE_BYTES = 255
Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - argparse has no public name
"""What declarations add themselves to."""


def verb(verbs: Verbs, name: str, does: str) -> argparse.ArgumentParser:
    """A new verb, with the options that each has."""
    parser = verbs.add_parser(
        name, help=does, description=f"{does[0].upper()}{does[1:]}.", allow_abbrev=False
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def source(text: str) -> str:
    """The name of a source."""
    if not 1 <= len(text.encode()) <= MAX_SOURCE_BYTES:
        raise argparse.ArgumentTypeError(f"takes 1 to {MAX_SOURCE_BYTES} bytes of text")
    return text


def tag(text: str) -> tuple[str, str]:
    """A tag: its key, and its value, which may hold further equals signs."""
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"takes KEY=VALUE, not {text!r}")
    return key, value


def position(text: str) -> int:
    """A position in a log, or a count."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"takes a whole number from 0 on, not {text!r}")
    return int(text)


def moment(text: str) -> datetime | int:
    """A moment: an aware datetime, or ns since 1970."""
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


def named(text: str) -> tuple[str, str]:
    """An object of the user's code: module or file, and the name in it."""
    module, colon, name = text.rpartition(":")
    if not (colon and module and name):
        raise argparse.ArgumentTypeError(f"takes MODULE:OBJECT, like strategy.py:TopOfBook, not {text!r}")
    return module, name
