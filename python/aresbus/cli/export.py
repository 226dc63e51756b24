"""``aresbus export``: events that match, into a folder of files.

Owns what is said at the end. Exporting is export's. Invariant: the log is opened for reading alone.
"""

import time
from argparse import Namespace

from aresbus.cli.read import filters
from aresbus.cli.terminal import Progress, counted, duration, write_json
from aresbus.export import ExportReport, export_log
from aresbus.log import open as open_log

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Export; nothing is left behind when it is interrupted."""
    began = time.perf_counter_ns()
    with Progress(enabled=not arguments.json) as progress, open_log(arguments.log, mode="r") as log:

        def show(so_far: ExportReport) -> None:
            progress.tick(lambda: f"exported {counted(so_far.events, 'event')}")

        report = export_log(
            log,
            arguments.out,
            form=arguments.form,
            zstd=arguments.zstd,
            on_event=show,
            **filters(arguments),
        )
    took_ns = time.perf_counter_ns() - began
    if arguments.json:
        write_json(
            {
                "log": arguments.log,
                "out": arguments.out,
                "form": arguments.form,
                "events": report.events,
                "first_seq": report.first_seq,
                "last_seq": report.last_seq,
                "snapshots": report.snapshots,
                "seconds": took_ns / 1e9,
            }
        )
        return 0
    span = "" if report.first_seq is None else f", seq {report.first_seq} to {report.last_seq}"
    snapshots = f", {counted(report.snapshots, 'snapshot')}" if report.snapshots else ""
    print(
        f"{counted(report.events, 'event')} exported{span}{snapshots} in {duration(took_ns)} → {arguments.out}"
    )
    return 0
