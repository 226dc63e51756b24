"""``aresbus backup``: a verified backup of a log, beside whoever writes it.

Owns what is said at the end. Taking it is backups'. Invariant: the log is opened for reading alone.
"""

import time
from argparse import Namespace
from dataclasses import asdict

from aresbus.cli.terminal import counted, duration, size, span, write_json
from aresbus.log import open as open_log

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Take the backup; what an earlier one held stays until it counts."""
    began = time.perf_counter_ns()
    with open_log(arguments.log, mode="r") as log:
        report = log.backup(arguments.dest, verify=arguments.verify)
    took_ns = time.perf_counter_ns() - began
    if arguments.json:
        write_json({"log": arguments.log, **asdict(report), "seconds": took_ns / 1e9})
        return 0
    print(
        f"{span(report.first_seq, report.last_seq)}, {size(report.bytes)} in {counted(report.files, 'file')} → {report.path}"
    )
    print(f"  {report.linked} linked, {report.copied} copied, {report.kept} kept from before")
    print(f"  {'verified' if report.is_verified else 'not verified'}, {duration(took_ns)}")
    return 0
