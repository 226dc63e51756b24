"""``aresbus restore``: a log made of a backup.

Owns what is said at the end. Restoring is backups'.
"""

import time
from argparse import Namespace
from dataclasses import asdict

from aresbus.backups import restore
from aresbus.cli.terminal import counted, duration, size, span, write_json

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Restore; nothing is left behind when it fails."""
    began = time.perf_counter_ns()
    report = restore(arguments.backup, arguments.dest, to_seq=arguments.to, to_time=arguments.to_time)
    took_ns = time.perf_counter_ns() - began
    if arguments.json:
        write_json({"backup": arguments.backup, **asdict(report), "seconds": took_ns / 1e9})
        return 0
    left_out = f", {counted(report.left_out, 'event')} of the backup left out" if report.left_out else ""
    print(f"{span(report.first_seq, report.last_seq)}{left_out}, {size(report.bytes)} → {report.path}")
    print(f"  verified, {duration(took_ns)}; the next writer begins a new epoch")
    return 0
