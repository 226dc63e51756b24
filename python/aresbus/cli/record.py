"""``aresbus record``: a captured feed, line by line, into a log.

Owns the loop from line to append, the list of bad lines, and what is said when it ends early. Knows nothing of how a
line reads (lines.py). Invariants: a message is stored byte for byte or named as a bad line, never changed or dropped in
silence; however the loop ends, the log is closed cleanly and the summary says how far it got.
"""

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from aresbus._core import Log, Receipt
from aresbus.cli.interrupt import Interruption
from aresbus.cli.lines import BadLineError, BrokenFeedError, Message, parse_line, read_feed
from aresbus.cli.terminal import Progress, count, counted, duration, size, write_json
from aresbus.errors import EncodeError, LimitError
from aresbus.log import open as open_log

__all__ = ["Recording", "append_message", "record_lines", "run"]

SHOWN_BAD_LINES = 20
"""As many are printed one by one; all are counted."""
INTERRUPTED = 130


@dataclass
class Recording:
    """How far a recording got."""

    lines: int = 0
    events: int = 0
    payload_bytes: int = 0
    last_seq: int | None = None
    bad_lines: int = 0
    bad: list[dict[str, Any]] = field(default_factory=list)
    """Line number and reason of the first bad lines."""
    types: dict[str, int] = field(default_factory=dict)

    def reject(self, reason: str) -> None:
        """Count the current line as bad."""
        self.bad_lines += 1
        if len(self.bad) < SHOWN_BAD_LINES:
            self.bad.append({"line": self.lines, "reason": reason})

    def accept(self, message: Message, receipt: Receipt) -> None:
        """Count the current line as stored."""
        self.events += 1
        self.payload_bytes += len(message.payload)
        self.last_seq = receipt.seq
        self.types[message.event_type] = self.types.get(message.event_type, 0) + 1


def append_message(log: Log, message: Message, source: str) -> Receipt:
    """Store one message: payload byte for byte, its receive time as event time."""
    return log.append_bytes(
        message.event_type,
        message.payload,
        encoding="json",
        source=source,
        aggregate_id=message.aggregate_id,
        event_time_ns=message.time_ns,
    )


def record_lines(
    log: Log,
    lines: Iterable[bytes],
    source: str,
    recording: Recording,
    each: Callable[[Recording], object] = lambda _: None,
) -> None:
    """Append every line, counting into ``recording``, which is true at any moment this may be left by an error.

    ``each`` is called after every line. Bad lines are counted and passed over. Raises what append raises for a log that
    takes no more (StorageError).
    """
    try:
        for line in lines:
            recording.lines += 1
            try:
                message = parse_line(line, source)
                recording.accept(message, append_message(log, message, source))
            except (BadLineError, EncodeError, LimitError) as error:
                recording.reject(str(error))
            each(recording)
    except BrokenFeedError as error:
        recording.lines += 1
        recording.reject(str(error))


def run(arguments: Namespace) -> int:
    """Record one file or standard input; 1 with bad lines, 130 when interrupted."""
    recording = Recording()
    began = time.perf_counter_ns()
    with (
        _open_feed(arguments.file) as file,
        Progress(enabled=not arguments.json) as progress,
        Interruption() as interruption,
    ):

        def show(so_far: Recording) -> None:
            progress.tick(lambda: f"recorded {counted(so_far.events, 'event')}, {size(so_far.payload_bytes)}")

        try:
            with open_log(arguments.log, durability=arguments.durability) as log:
                record_lines(log, interruption.until(read_feed(file)), arguments.source, recording, show)
        except Exception:
            progress.clear()
            if recording.lines:
                print(
                    f"aresbus: stopped at line {count(recording.lines)}: {_so_far(recording)}",
                    file=sys.stderr,
                )
            raise
    _report(arguments, recording, time.perf_counter_ns() - began, interrupted=interruption.asked)
    if interruption.asked:
        return INTERRUPTED
    return 1 if recording.bad_lines else 0


def _open_feed(name: str) -> AbstractContextManager[IO[bytes]]:
    return nullcontext(sys.stdin.buffer) if name == "-" else Path(name).open("rb")


def _so_far(recording: Recording) -> str:
    at = "" if recording.last_seq is None else f", the last at seq {recording.last_seq}"
    return f"{counted(recording.events, 'event')} stored{at}"


def _report(arguments: Namespace, recording: Recording, took_ns: int, *, interrupted: bool) -> None:
    if arguments.json:
        seconds = took_ns / 1e9
        shape = {
            "log": arguments.log,
            "source": arguments.source,
            "interrupted": interrupted,
            "seconds": seconds,
        }
        write_json(shape | vars(recording))
        return
    for bad in recording.bad:
        print(f"{arguments.file}:{bad['line']}: {bad['reason']}", file=sys.stderr)
    if (more := recording.bad_lines - len(recording.bad)) > 0:
        print(f"… and {counted(more, 'bad line')} more", file=sys.stderr)
    if interrupted:
        print(f"interrupted at line {count(recording.lines)}; the log was closed cleanly", file=sys.stderr)
    print(f"{_so_far(recording)}: {size(recording.payload_bytes)} in {duration(took_ns)} → {arguments.log}")
    if recording.types:
        print("  " + ", ".join(f"{count(n)} {name}" for name, n in sorted(recording.types.items())))
    if recording.bad_lines:
        print(f"  {counted(recording.bad_lines, 'bad line')} left out, named above")
