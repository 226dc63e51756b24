"""The export itself: the events of a log that match, into one folder, in one of three forms.

Owns the loop from read to write, and what an export says of itself. Forms and folder are their modules'. Invariants: an
export is of the log as it was when it began; equal events give equal bytes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from os import PathLike
from typing import Any, Literal, TypedDict, Unpack

from aresbus._core import Event
from aresbus.export.folder import ExportFolder
from aresbus.export.jsonl import write_days
from aresbus.export.parquet import write_parquet
from aresbus.export.snapshots import export_snapshots
from aresbus.export.table import write_csv
from aresbus.legacy.anchors import SYSTEM
from aresbus.legacy.layout import PACKED
from aresbus.log import Log

__all__ = ["ExportReport", "Filters", "export_log"]

FORMAT = 1
"""Of the manifest."""


class Filters(TypedDict, total=False):
    """What is exported, as :meth:`Log.read` takes it."""

    after: int | None
    up_to: int | None
    since: datetime | int | None
    until: datetime | int | None
    time: Literal["append", "event"]
    limit: int | None
    types: Iterable[str] | str | None
    aggregate_id: str | None
    correlation_id: str | None
    source: str | None
    tags: Mapping[str, str] | None
    durable: bool


@dataclass(slots=True)
class ExportReport:
    """How far an export came: events, the positions of the first and the last, snapshots."""

    events: int = 0
    first_seq: int | None = None
    last_seq: int | None = None
    snapshots: int = 0


def export_log(
    log: Log,
    out: str | PathLike[str],
    *,
    form: Literal["jsonl", "csv", "parquet"] = "jsonl",
    zstd: bool = False,
    on_event: Callable[[ExportReport], object] | None = None,
    **filters: Unpack[Filters],
) -> ExportReport:
    """Write the matching events of ``log`` into the new folder ``out``.

    jsonl: ``events/events_YYYY-MM-DD.jsonl``, one ``Event.to_dict()`` a line, in the order of the log; the day is the
    latest, in UTC, that the events so far speak of; ``snapshots/snapshot_NNNNNN.json``. An imported event has the
    sequence number it came with. csv: ``events.csv``; parquet: ``events.parquet`` (extra ``parquet``). ``zstd``
    packs jsonl and csv (extra ``zstd``). ``manifest.json`` lists each file with its size and SHA-256.

    ``out`` appears whole and durable, or not at all. The same events give the same bytes. ``filters`` are those of
    ``read``. ``on_event`` is called as it goes. Recorded as the act ``log.export``. Blocks; call it off the loop. Raises ExportError where ``out`` is no
    empty folder or lies in the log, ValueError for zstd with parquet, ImportError without the extra, what ``read``
    raises, OSError.
    """
    if form == "parquet" and zstd:
        raise ValueError("zstd packs jsonl and csv; a Parquet file is packed inside")
    if form not in {"jsonl", "csv", "parquet"}:
        raise ValueError(f"form: got {form!r}, takes 'jsonl', 'csv' or 'parquet'")
    last = log.last_seq
    bounded: dict[str, Any] = {"up_to": last, **{key: one for key, one in filters.items() if one is not None}}
    report = ExportReport()
    details = {"out": str(out), "form": form, "zstd": zstd, **{key: str(one) for key, one in bounded.items()}}
    with log.act("log.export", details) as result, ExportFolder(out, outside=log.path) as folder:
        events = _counted(log.read(**bounded) if last is not None else (), report, on_event)
        if form == "jsonl":
            aggregates = write_days(folder, events, packed=zstd)
            report.snapshots = export_snapshots(
                log, folder, sorted({*aggregates, SYSTEM}), _looked_up(log, report, bounded)
            )
        else:
            _write_table(folder, events, form, packed=zstd)
        folder.publish(format=FORMAT, form=form, events=report.events, snapshots=report.snapshots)
        result.update(events=report.events, first_seq=report.first_seq, last_seq=report.last_seq)
    return report


def _counted(
    events: Iterable[Event], report: ExportReport, on_event: Callable[[ExportReport], object] | None
) -> Iterator[Event]:
    for event in events:
        report.events += 1
        report.first_seq = event.seq if report.first_seq is None else report.first_seq
        report.last_seq = event.seq
        yield event
        if on_event is not None:
            on_event(report)


def _write_table(folder: ExportFolder, events: Iterator[Event], form: str, *, packed: bool) -> None:
    name = f"events.{form}{PACKED if packed else ''}"
    file = folder.create(name, packed=packed)
    count = (write_csv if form == "csv" else write_parquet)(file, events)
    file.close()
    folder.seal(name, events=count)


def _looked_up(log: Log, report: ExportReport, filters: dict[str, Any]) -> Callable[[int], Event | None]:
    """The event at a position if it was among the exported ones, else None."""
    matching = {key: one for key, one in filters.items() if key not in {"after", "up_to", "limit"}}

    def exported(seq: int) -> Event | None:
        if report.first_seq is None or not report.first_seq <= seq <= (report.last_seq or 0):
            return None
        return next(iter(log.read(after=seq - 1 if seq else None, up_to=seq, **matching)), None)

    return exported
