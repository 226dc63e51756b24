"""The import itself: every line of every file, in order, into the log, in batches.

Owns the loop from line to append, and what happens where a line or a batch is refused. How a line reads is line's, what was
there before progress's. Invariants: the order of files and lines is the order of the log; a line is appended at most once,
however often and wherever an import is killed; whatever is left out is named.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

from aresbus._core import Receipt
from aresbus.errors import (
    AresbusError,
    ConfigError,
    DuplicateEventError,
    EncodeError,
    LimitError,
    StorageError,
)
from aresbus.legacy.anchors import Anchors
from aresbus.legacy.feed import MAX_LINE_BYTES, Line, Place, lines_behind, lines_of, open_file
from aresbus.legacy.layout import EVENTS, NUMBER_TAG, ORIGIN_TAG, event_files, events_folder
from aresbus.legacy.line import BadLineError, LegacyEvent, parse_event
from aresbus.legacy.progress import BEFORE, Progress
from aresbus.legacy.report import Finding, ImportReport
from aresbus.legacy.snapshots import newest_snapshots, store_snapshots
from aresbus.log import Log
from aresbus.places import end_of

__all__ = ["import_legacy"]

BATCH_EVENTS = 1_000
BATCH_BYTES = 4 * 1024 * 1024
"""Of lines: far below a segment, which a batch has to fit."""
REFUSALS = (EncodeError, LimitError, ConfigError, DuplicateEventError)
"""What an append raises because of the event itself."""


def import_legacy(
    source: str | PathLike[str],
    log: Log,
    *,
    reread: bool = False,
    report: ImportReport | None = None,
    on_finding: Callable[[Finding], object] | None = None,
    on_batch: Callable[[ImportReport], object] | None = None,
) -> ImportReport:
    """Bring the older event store in the folder ``source`` into ``log``, which is open for writing.

    Reads ``events/events_YYYY-MM-DD.jsonl`` (and ``.jsonl.zst``) by date, line by line, then
    ``snapshots/snapshot_*.json``. Ids, times (naive ones are UTC), correlation, causation, aggregates, versions and
    tags are kept; versions of aggregates are counted anew; status and retry count are dropped. A sequence number that
    is not the event's position in the log becomes its tag ``aresbus:legacy_sequence``. What cannot become an event is
    a finding, and the rest goes on.

    Run it again to go on where it ended, killed or not, or when the source has grown: a line behind which an earlier
    import stopped is looked up, a line whose event id is in the log is passed over. ``reread``: read all lines again,
    also those an earlier import has dealt with; what it had to leave out is named again.

    ``report`` is filled as it goes, and returned; ``on_finding`` and ``on_batch`` are called as it goes. Blocks; call
    it off the loop. Recorded as the act ``legacy.import``. Raises LegacyLayoutError; StorageError and its kin where the
    log takes no more; ImportError for a packed file without its library.
    """
    folder = Path(source)
    report = report if report is not None else ImportReport()
    report.on_finding = on_finding
    events_folder(folder)  # refused before anything is recorded
    with log.act("legacy.import", {"source": str(source)}) as result:
        try:
            newest = newest_snapshots(folder, report)
            anchors = Anchors(old.snapshot for old in newest)
            _Import(log, Progress(log, anchors), anchors, report, on_batch, reread=reread).run(folder)
            store_snapshots(log, newest, anchors, report)
        finally:
            result.update(report.summary())
    return report


class _Import:
    """One run over the event files."""

    def __init__(
        self,
        log: Log,
        progress: Progress,
        anchors: Anchors,
        report: ImportReport,
        on_batch: Callable[[ImportReport], object] | None,
        *,
        reread: bool,
    ) -> None:
        self._log, self._anchors, self._report, self._on_batch = log, anchors, report, on_batch
        self._ids = progress.ids
        self._places = {} if reread else progress.places
        self._batch: list[tuple[Place, LegacyEvent]] = []
        self._batch_bytes = 0
        self._file = ""
        self._first_lines: list[int] = []
        """Of each file so far: how many lines, counted through all files, come before its own."""
        self._files: list[str] = []
        self._lines_read = 0

    def run(self, source: Path) -> None:
        """Take in every file."""
        files, strays = event_files(events_folder(source))
        for path in strays:
            self._report.find(path.name, None, f"left out: no {EVENTS}_YYYY-MM-DD.jsonl")
        for path in files:
            self._file = path.name
            self._files.append(path.name)
            self._first_lines.append(self._lines_read)
            try:
                self._take_file(path)
            except StorageError:
                raise
            except (OSError, EOFError) as error:
                self._report.find(path.name, None, f"cannot be read on from here: {error}")
            self._flush()

    def _take_file(self, path: Path) -> None:
        known = self._places.get(path.name)
        if known is not None:
            with open_file(path) as file:
                lines = lines_behind(file, known, _event_id_of)
                if lines is not None:
                    self._report.skipped_lines += known.number
                    self._take(lines)
                    return
        with open_file(path) as file:
            self._take(lines_of(file))

    def _take(self, lines: Iterator[Line]) -> None:
        base = self._lines_read
        for line in lines:
            self._lines_read = base + line.number
            if line.content is None:
                self._find(line.number, f"longer than {MAX_LINE_BYTES:,} bytes")
            elif not line.content.isspace():
                self._take_line(line, line.content)

    def _take_line(self, line: Line, content: bytes) -> None:
        try:
            event = parse_event(content)
        except BadLineError as error:
            is_half = not content.endswith(b"\n")
            self._find(line.number, f"half a line, the last of the file: {error}" if is_half else str(error))
            return
        event_id = event.keywords["event_id"]
        first = self._ids.setdefault(event_id, self._lines_read)
        if first != self._lines_read:
            self._repeated(line.number, event_id, first)
            return
        place = Place(line.number, line.start, event_id)
        if event.payload is not None:
            self._flush()
            self._append(place, event)
            return
        self._batch.append((place, event))
        self._batch_bytes += len(content)
        if len(self._batch) >= BATCH_EVENTS or self._batch_bytes >= BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Append the batch: all of it or, where one event is refused, each on its own."""
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if batch:
            first = end_of(self._log)
            entries = [self._entry(place, event, first + at) for at, (place, event) in enumerate(batch)]
            try:
                receipts = self._log.append_many(entries)
            except REFUSALS:
                for place, event in batch:
                    self._append(place, event)
            else:
                for (_, event), receipt in zip(batch, receipts, strict=True):
                    self._stored(event, receipt)
        if self._on_batch is not None:
            self._on_batch(self._report)

    def _append(self, place: Place, event: LegacyEvent) -> None:
        entry = self._entry(place, event, end_of(self._log))
        try:
            if event.payload is None:
                receipt = self._log.append(**entry)
            else:
                del entry["data"]
                receipt = self._log.append_bytes(payload=event.payload, encoding=event.encoding, **entry)
        except REFUSALS as error:
            del self._ids[place.event_id]
            self._find(place.number, _said(error))
            return
        self._stored(event, receipt)

    def _entry(self, place: Place, event: LegacyEvent, seq: int) -> dict[str, Any]:
        event.tags[ORIGIN_TAG] = place.origin(self._file)
        if event.number is not None and event.number != seq:
            event.tags[NUMBER_TAG] = str(event.number)
        else:
            event.tags.pop(NUMBER_TAG, None)
        return {"event_type": event.event_type, "data": event.data, "tags": event.tags, **event.keywords}

    def _stored(self, event: LegacyEvent, receipt: Receipt) -> None:
        report, seq = self._report, receipt.seq
        report.events += 1
        report.non_finite += event.is_non_finite
        report.first_seq = seq if report.first_seq is None else report.first_seq
        report.last_seq = seq
        number = event.number if event.number is not None else seq
        keywords = event.keywords
        self._anchors.observe(keywords["aggregate_id"], number, keywords["event_time_ns"], seq)

    def _repeated(self, number: int, event_id: str, first: int) -> None:
        if first == BEFORE:
            self._report.already += 1
            return
        at = bisect_left(self._first_lines, first) - 1
        place = f"{self._files[at]}:{first - self._first_lines[at]}"
        self._find(number, f"its event id {event_id[:80]!r} is that of {place}")

    def _find(self, number: int, reason: str) -> None:
        self._report.find(self._file, number, reason)


def _event_id_of(content: bytes) -> str | None:
    try:
        return str(parse_event(content).keywords["event_id"])
    except BadLineError:
        return None


def _said(error: AresbusError) -> str:
    return f"[{error.code}] {error.message}"
