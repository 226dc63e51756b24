"""``aresbus salvage``: what still reads of a damaged log, copied out, and the list of what does not.

Owns the list's form and the exit code: 1 where anything did not read. Searching is salvaging's. Invariant: the damaged log
is only read.
"""

import time
from argparse import Namespace
from dataclasses import asdict

from aresbus.cli.terminal import Progress, counted, duration, print_table, write_json
from aresbus.reports import Unread
from aresbus.salvaging import SalvageReport, salvage

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Copy out; 1 where something did not read."""
    began = time.perf_counter_ns()
    with Progress(enabled=not arguments.json) as progress:

        def show(so_far: SalvageReport) -> None:
            progress.tick(lambda: f"salvaged {counted(so_far.events, 'event')}")

        report = salvage(arguments.log, arguments.out, quarantine=arguments.quarantine, on_event=show)
    took_ns = time.perf_counter_ns() - began
    if arguments.json:
        write_json({"log": arguments.log, **asdict(report), "seconds": took_ns / 1e9})
        return 1 if report.unread else 0
    span = "" if report.first_seq is None else f", seq {report.first_seq} to {report.last_seq}"
    print(f"{counted(report.events, 'event')} salvaged{span} in {duration(took_ns)} → {report.out}")
    if report.unread:
        print("not readable:")
        print_table([_row(one) for one in report.unread], heads=("events", "where", "what"))
    else:
        print("everything read")
    return 1 if report.unread else 0


def _row(one: Unread) -> tuple[str, str, str]:
    first, last = one["first_seq"], one["last_seq"]
    if first is None:
        events = "-"
    elif last is None:
        events = f"{first}-?"
    else:
        events = str(first) if first == last else f"{first}-{last}"
    return events, f"{one['path']}:{one['offset']}", one["reason"]
