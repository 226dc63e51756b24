"""How results reach the eye: tables, numbers with units, a progress line, JSON.

Owns form alone and knows nothing of logs. Invariants: results go to stdout, everything said on the way to stderr; rich
is used only where it is installed and stdout is a terminal, and never decides what is said; a progress line appears
only where stderr is a terminal.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Self

from aresbus.readable import duration, printable

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "Progress",
    "count",
    "counted",
    "duration",
    "json_text",
    "plain_lines",
    "print_table",
    "rich_table",
    "size",
    "span",
    "write_json",
]

PROGRESS_INTERVAL_S = 0.1
BYTES_PER_UNIT = 1024
ERASE_LINE = "\r\x1b[K"


def json_text(value: object) -> str:
    """One line of JSON; what JSON does not know appears as its text."""
    return json.dumps(value, default=str, ensure_ascii=False)


def write_json(value: object) -> None:
    """Print the one JSON document that is a verb's result."""
    print(json.dumps(value, default=str, ensure_ascii=False, indent=2))


def count(number: int) -> str:
    """``41249`` → ``41,249``."""
    return f"{number:,}"


def counted(number: int, noun: str) -> str:
    """``1 event``, ``41,249 events``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def span(first_seq: int, last_seq: int | None) -> str:
    """The events from one position to another: ``no event``, ``3 events, seq 7 to 9``."""
    if last_seq is None:
        return "no event"
    return f"{counted(last_seq + 1 - first_seq, 'event')}, seq {first_seq} to {last_seq}"


def size(number: float) -> str:
    """Bytes in binary units: ``11.1 MiB``."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if abs(number) < BYTES_PER_UNIT:
            return f"{number:,.0f} {unit}" if unit == "bytes" else f"{number:,.1f} {unit}"
        number /= BYTES_PER_UNIT
    return f"{number:,.1f} TiB"


def print_table(
    rows: Sequence[Sequence[str]], *, heads: Sequence[str] = (), right: Iterable[int] = ()
) -> None:
    """Print rows in columns; those numbered in ``right`` are flush right, as numbers should be."""
    cells = [list(map(str, row)) for row in rows]
    if sys.stdout.isatty():
        try:
            # An extra, and slow to import: only for a person who looks.
            from rich.console import Console  # noqa: PLC0415
        except ImportError:
            pass
        else:
            Console().print(rich_table(cells, heads=heads, right=right))
            return
    for line in plain_lines(cells, heads=heads, right=right):
        print(line)


def plain_lines(
    rows: Sequence[Sequence[str]], *, heads: Sequence[str] = (), right: Iterable[int] = ()
) -> Iterator[str]:
    """The lines of a table, columns padded with blanks."""
    aligned = frozenset(right)
    lines = ([heads] if heads else []) + [list(map(printable, row)) for row in rows]
    if not lines:
        return
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    for line in lines:
        cells = (
            cell.rjust(width) if at in aligned else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        yield ("  " + "  ".join(cells)).rstrip()


def rich_table(
    rows: Sequence[Sequence[str]], *, heads: Sequence[str] = (), right: Iterable[int] = (), title: str = ""
) -> "Table":
    """The same for rich; ImportError where it is not installed."""
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    aligned = frozenset(right)
    table = Table(box=box.ROUNDED, show_header=bool(heads), title=title or None, title_justify="left")
    for at in range(len(rows[0]) if rows else len(heads)):
        head = heads[at] if heads else ""
        table.add_column(head, justify="right" if at in aligned else "left", overflow="fold")
    for row in rows:
        # As Text: a log may hold names that look like markup.
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


class Progress:
    """A line on stderr that says how far long work is; silent where stderr is no terminal.

    A context manager. ``tick`` may be called as often as one likes: it draws at most ten times a second.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled and sys.stderr.isatty()
        self._next = 0.0
        self._drawn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def tick(self, text: Callable[[], str]) -> None:
        """Show ``text()``, called only if it is time to draw."""
        if not self._enabled or (now := time.monotonic()) < self._next:
            return
        self._next = now + PROGRESS_INTERVAL_S
        self._drawn = True
        sys.stderr.write(ERASE_LINE + text())
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away, so that something else can be said in its place."""
        if self._drawn:
            self._drawn = False
            sys.stderr.write(ERASE_LINE)
            sys.stderr.flush()
