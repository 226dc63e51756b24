"""``aresbus top``: a log while it grows, until Ctrl-C.

Owns the layout of a frame and how frames follow each other: on a terminal with rich in place, else one after another,
with ``--json`` one object a line. What is in a frame is glimpse's. Invariant: text out of somebody's log cannot steer
the terminal.
"""

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count as endless
from typing import Any, NamedTuple

from aresbus.cli.glimpse import NEWEST_EVENTS, Glimpse
from aresbus.cli.read import fitted, time_text
from aresbus.cli.terminal import count, duration, json_text, plain_lines, rich_table, size

__all__ = ["run"]

TYPES_SHOWN = 10
NAME_WIDTH = 36
MINUTE_NS = 60 * 10**9
Frame = dict[str, Any]


class Table(NamedTuple):
    """One table of a frame."""

    title: str
    rows: list[list[str]]
    heads: tuple[str, ...] = ()
    right: tuple[int, ...] = ()


def run(arguments: Namespace) -> int:
    """Show frame after frame; 0, also when Ctrl-C ended it, which is the way to end."""
    with Glimpse(arguments.log) as glimpse:
        glimpse.look()  # rates need two looks
        try:
            with _drawing(as_json=arguments.json, live=not arguments.once) as draw:
                for _ in range(1) if arguments.once else endless():
                    time.sleep(arguments.interval)
                    draw(glimpse.look())
        except KeyboardInterrupt:
            if arguments.once:
                raise
    return 0


@contextmanager
def _drawing(*, as_json: bool, live: bool) -> Iterator[Callable[[Frame], None]]:
    """How a frame is shown."""
    if as_json:
        yield _print_json
        return
    if not sys.stdout.isatty():
        yield _print_plain
        return
    try:
        # An extra, and slow to import: only for a person who looks.
        from rich.console import Console, Group  # noqa: PLC0415
        from rich.live import Live  # noqa: PLC0415
    except ImportError:
        yield _print_plain
        return

    def drawn(frame: Frame) -> Group:
        return Group(
            *(
                rich_table(one.rows, heads=one.heads, right=one.right, title=one.title)
                for one in _tables(frame)
            )
        )

    console = Console()
    if not live:
        yield lambda frame: console.print(drawn(frame))
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as place:
        yield lambda frame: place.update(drawn(frame), refresh=True)


def _print_json(frame: Frame) -> None:
    print(json_text(frame), flush=True)


def _print_plain(frame: Frame) -> None:
    for table in _tables(frame):
        print(table.title)
        for line in plain_lines(table.rows, heads=table.heads, right=table.right):
            print(line)
    print(flush=True)


def _tables(frame: Frame) -> Iterator[Table]:
    yield Table(_safe(frame["log"], 200), _summary(frame))
    if frame["types"]:
        yield _types(frame)
    yield Table(
        "newest segments",
        [
            [str(one["number"]), count(one["first_seq"]), size(one["used_bytes"]), size(one["file_bytes"])]
            for one in frame["segments"]
        ],
        ("number", "first seq", "used", "file"),
        (0, 1, 2, 3),
    )
    if frame["acts"] or frame["audit_problem"]:
        yield _acts(frame)


def _summary(frame: Frame) -> list[list[str]]:
    rate, byte_rate = frame["events_per_second"] or 0.0, frame["bytes_per_second"] or 0.0
    last = frame["last_seq"]
    return [
        ["now", f"{rate:,.0f} events/s, {size(byte_rate)}/s"],
        [
            "events",
            "none yet" if last is None else f"{count(frame['event_count'])} (up to seq {count(last)})",
        ],
        ["not durable yet", f"{count(frame['undurable_events'])} events, as far as stored marks tell"],
        [
            "segments",
            f"{frame['segment_count']}, {size(frame['used_bytes'])} used of {size(frame['file_bytes'])}",
        ],
        ["aggregates", count(frame["aggregate_count"])],
    ]


def _types(frame: Frame) -> Table:
    rows = [
        [
            _safe(one["event_type"]),
            count(one["count"]),
            count(one["last_seq"]),
            _safe(one["aggregate_id"] or "-"),
            _when(one["last_ts_ns"], frame["ts_ns"]),
        ]
        for one in frame["types"][:TYPES_SHOWN]
    ]
    if (rest := len(frame["types"]) - TYPES_SHOWN) > 0:
        rows.append([f"and {rest} more", "", "", "", ""])
    title = f"types among the newest {count(NEWEST_EVENTS)} events"
    return Table(title, rows, ("type", "events", "newest seq", "its aggregate", "appended"), (1, 2, 4))


def _acts(frame: Frame) -> Table:
    rows = [
        [
            time_text(one["ts_ns"])[:19],
            _safe(one["act"]),
            _safe(one["phase"]),
            _safe(f"{one['user']}, process {one['pid']}"),
            _safe(one["reason"] or "-"),
        ]
        for one in frame["acts"]
    ]
    if frame["audit_problem"]:
        rows.append(["", "cannot be read", "", _safe(frame["audit_problem"], 200), ""])
    return Table("done to the log", rows, ("when", "act", "phase", "by", "reason"))


def _when(ns: int, now_ns: int) -> str:
    """How long ago, or the time where that is more than a minute."""
    age = max(0, now_ns - ns)
    return f"{duration(age)} ago" if age < MINUTE_NS else f"{time_text(ns)[:19]}Z"


def _safe(text: str, width: int = NAME_WIDTH) -> str:
    return fitted(str(text), width)
