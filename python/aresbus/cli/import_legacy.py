"""``aresbus import-legacy``: an older Ares event store into a log.

Owns what is said on the way and at the end. Importing is legacy's. Invariants: every finding is printed as it comes, so that
none is lost with a killed run; however the import ends, how far it came is said.
"""

import sys
import time
from argparse import Namespace
from contextlib import AbstractContextManager

from aresbus.cli.terminal import Progress, count, counted, duration, write_json
from aresbus.legacy import Finding, ImportReport, import_legacy
from aresbus.log import Log, open as open_log

__all__ = ["run"]

INTERRUPTED = 130


def run(arguments: Namespace) -> int:
    """Import; 1 with findings, 130 when interrupted."""
    report = ImportReport()
    began = time.perf_counter_ns()
    is_interrupted = False
    with Progress(enabled=not arguments.json) as progress:

        def tell(finding: Finding) -> None:
            progress.clear()
            if not arguments.json:
                print(finding.text(), file=sys.stderr)

        def show(so_far: ImportReport) -> None:
            progress.tick(lambda: f"imported {counted(so_far.events, 'event')}")

        try:
            with _target(arguments) as log:
                import_legacy(
                    arguments.source,
                    log,
                    reread=arguments.reread,
                    report=report,
                    on_finding=tell,
                    on_batch=show,
                )
        except KeyboardInterrupt:
            is_interrupted = True
        except Exception:
            progress.clear()
            if report.events:
                print(f"aresbus: stopped: {_so_far(arguments, report)}", file=sys.stderr)
            raise
    _say(arguments, report, time.perf_counter_ns() - began, is_interrupted=is_interrupted)
    if is_interrupted:
        return INTERRUPTED
    return 1 if report.findings_count else 0


def _target(arguments: Namespace) -> AbstractContextManager[Log]:
    if arguments.dry_run:
        return Log(None)  # in memory, where the oldest events make room: all is tried and nothing kept
    return open_log(arguments.log, reason="import-legacy")


def _so_far(arguments: Namespace, report: ImportReport) -> str:
    if arguments.dry_run:
        return f"{counted(report.events, 'event')} could be imported"
    at = "" if report.last_seq is None else f", the last at seq {report.last_seq}"
    return f"{counted(report.events, 'event')} imported{at}"


def _say(arguments: Namespace, report: ImportReport, took_ns: int, *, is_interrupted: bool) -> None:
    if arguments.json:
        shape = {
            "source": arguments.source,
            "log": arguments.log,
            "dry_run": arguments.dry_run,
            "interrupted": is_interrupted,
            "seconds": took_ns / 1e9,
            **report.summary(),
            "bad": [{"file": one.file, "line": one.line, "reason": one.reason} for one in report.findings],
        }
        write_json(shape)
        return
    if is_interrupted:
        print("interrupted; the same command goes on from here", file=sys.stderr)
    print(
        f"{_so_far(arguments, report)} in {duration(took_ns)}"
        + ("" if arguments.dry_run else f" → {arguments.log}")
    )
    counts = (
        (report.skipped_lines, "{} lines were dealt with by an earlier import (--reread reads them again)"),
        (report.already, "{} events were in the log before"),
        (report.non_finite, "{} events held NaN or an infinity, stored as null and flagged"),
        (report.snapshots, "{} snapshots stored"),
        (report.older_snapshots, "{} older snapshots passed over"),
        (report.findings_count, "{} findings, named above, are not in the log"),
    )
    for number, text in counts:
        if number:
            print("  " + text.format(count(number)))
