"""``aresbus tail``: the newest events of a log, and with ``--follow`` whatever is appended to it from then on.

Owns where the newest ones begin, and what is said of events that expired before they could be shown. The forms of an event
are read's. Invariants: between the newest events and what comes there is no seam; however many are asked for, one is held
at a time.
"""

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator

from aresbus._core import Event, Log
from aresbus.cli.read import filters, followed, writer
from aresbus.cli.terminal import json_text
from aresbus.log import open as open_log
from aresbus.places import Lost

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Print the newest, then what comes; 130 when Ctrl-C ended it, except that with --follow it is the way to end: 0."""
    write, tell = writer(arguments), _teller(as_json=arguments.json)
    with _opened(arguments.log) as log:
        try:
            for event in _events(log, arguments, tell):
                write(event)
        except KeyboardInterrupt:
            if not arguments.follow:
                raise
    return 0


def _opened(path: str) -> Log:
    try:
        return open_log(path, mode="r")
    except FileNotFoundError as missing:
        advice = "start the program that writes it, or name the folder that is its storage_path"
        text = f"there is no log in {path} yet: {advice}"
        raise FileNotFoundError(missing.errno, text, path) from missing


def _events(log: Log, arguments: Namespace, tell: Callable[[Lost], None]) -> Iterator[Event]:
    """The newest, found backward and read forward; what comes is the same reading going on."""
    wanted, end = filters(arguments), log.last_seq
    if end is not None:
        wanted["up_to"] = end if arguments.up_to is None else min(end, arguments.up_to)
    first = None
    for event in log.read(**wanted, direction="backward", on_message=tell):
        first = event
    if first is not None and first.seq is not None:
        after = first.seq - 1 if first.seq else None
    else:
        after = end if arguments.after is None else max(arguments.after, end or 0)
    if arguments.follow:
        return log.follow(after, **followed(arguments), on_message=tell)
    return iter(()) if first is None else log.read(**wanted | {"after": after}, on_message=tell)


def _teller(*, as_json: bool) -> Callable[[Lost], None]:
    """Says on stderr, in its place, what is gone."""

    def tell(lost: Lost) -> None:
        sys.stdout.flush()
        if as_json:
            text = json_text({"lost": {"from_seq": lost.from_seq, "to_seq": lost.to_seq}})
        else:
            text = f"aresbus: seq {lost.from_seq} to {lost.to_seq - 1} expired before they could be shown"
        print(text, file=sys.stderr, flush=True)

    return tell
