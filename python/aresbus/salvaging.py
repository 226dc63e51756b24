"""Salvage: every event of a damaged log that still reads, copied out; the rest, named.

Owns the two forms that the copy takes. What reads is the engine's to find. Invariants: the damaged log is only read; the copy
stands whole and durable at its place, or not at all.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aresbus import _core, durable_files
from aresbus._core import Event
from aresbus.errors import ExportError
from aresbus.export.jsonl import line_of
from aresbus.log import Log
from aresbus.reports import Unread

__all__ = ["SalvageReport", "salvage"]

LINES = ".jsonl"


@dataclass(slots=True)
class SalvageReport:
    """What was copied out, and what could not be."""

    out: str
    events: int = 0
    first_seq: int | None = None
    """Positions of the first and the last event in the damaged log."""
    last_seq: int | None = None
    unread: list[Unread] = field(default_factory=list)


def salvage(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    quarantine: bool = False,
    on_event: Callable[[SalvageReport], object] | None = None,
) -> SalvageReport:
    """Copy every event of the log at ``path`` that still reads to ``out``, also those behind damage.

    ``out``: a new file whose name ends in ``.jsonl``, which gets one ``Event.to_dict()`` a line with the position it had; or
    a new or empty folder, which becomes a log. Events there keep their ids, types, payloads, tags and times (the time of
    the append becomes the event's own time where it had none); positions and versions of aggregates count anew, so that
    they have no gaps. ``quarantine``: also what recovery or an accepted loss has set aside; no event twice. An event whose
    batch is not whole is copied, and the batch named.

    ``unread`` of the report says what was not: file, offset in it (of a sealed segment that in the raw one), first and last
    event affected, and why. Bytes cut from a torn tail (``*.tail``) are not searched. Blocks; any thread. Raises
    FileNotFoundError where there is no log, ExportError where ``out`` is there or inside the log, StorageError, DiskFullError.
    """
    place = Path(out).resolve()
    if place.is_relative_to(Path(path).resolve()):
        raise ExportError(f"{place} lies inside the log", path=str(place))
    is_lines = place.suffix == LINES
    if place.exists() and (is_lines or not place.is_dir() or any(place.iterdir())):
        raise ExportError(f"{place} is there already", path=str(place))
    search = _core.Salvage(path, quarantine=quarantine)
    report = SalvageReport(str(place))
    durable_files.make_folder(place.parent)
    aside = Path(tempfile.mkdtemp(prefix=f"{place.name}.", suffix=".unfinished", dir=place.parent))
    try:
        made = aside / "lines" if is_lines else aside / "log"
        events = _counted(search, report, on_event)
        if is_lines:
            _write_lines(made, events)
        else:
            _write_log(made, events, str(path))
        report.unread = search.unread
        made.rename(place)
        durable_files.sync_folder(place.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return report


def _counted(
    events: Iterator[Event], report: SalvageReport, on_event: Callable[[SalvageReport], object] | None
) -> Iterator[Event]:
    for event in events:
        seq = event.seq or 0
        report.events += 1
        report.first_seq = seq if report.first_seq is None else min(report.first_seq, seq)
        report.last_seq = seq if report.last_seq is None else max(report.last_seq, seq)
        yield event
        if on_event is not None:
            on_event(report)


def _write_lines(made: Path, events: Iterator[Event]) -> None:
    with durable_files.create(made) as file:
        for event in events:
            file.write(line_of(event))
        file.flush()
        os.fsync(file.fileno())


def _write_log(made: Path, events: Iterator[Event], source: str) -> None:
    with (
        Log(made, durability="none", reason=f"salvaged from {source}", force_filesystem=True) as log,
        log.act("log.salvage", {"source": source}),
    ):
        for event in events:
            log.append_bytes(
                str(event.event_type),
                event.raw or b"",
                encoding="bytes" if event.encoding == "bytes" else "json",
                source=event.source,
                correlation_id=event.correlation_id,
                causation_id=event.causation_id,
                aggregate_id=event.aggregate_id,
                tags=event.tags,
                event_id=event.event_id,
                event_time_ns=event.ts_ns if event.event_time_ns is None else event.event_time_ns,
                schema_version=event.schema_version,
            )
        log.sync()
