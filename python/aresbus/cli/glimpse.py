"""What ``aresbus top`` shows: one frame after another of a log that somebody else may be writing.

Owns the shape of a frame and the rates between two. Opens for reading alone and draws nothing. Invariants: a look
costs a bounded number of events, however fast the log grows; times are ns since 1970, rates are per second of the
monotonic clock.
"""

import os
import time
from collections import deque
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from aresbus import _core
from aresbus.errors import AresbusError, TruncatedError
from aresbus.log import open as open_log

__all__ = ["Glimpse"]

NEWEST_EVENTS = 5_000
"""Looked at for the table of types."""
NEWEST_ACTS = 5
NEWEST_SEGMENTS = 3
AUDIT = "audit"


class _Seen(NamedTuple):
    """What is kept of an event."""

    event_type: str
    seq: int
    aggregate_id: str | None
    ts_ns: int


class Glimpse:
    """A log that is looked at again and again. A context manager."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open for reading. Raises what opening a log raises; FileNotFoundError where there is none."""
        self._path = Path(path)
        self._log = open_log(path, mode="r")
        self._newest: deque[_Seen] = deque(maxlen=NEWEST_EVENTS)
        self._before: tuple[float, int, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._log.close()

    def look(self) -> dict[str, Any]:
        """A frame. Its rates are those since the look before, None at the first."""
        last = (
            self._log.last_seq
        )  # ORDER: first, it makes a reader catch up, and stats list the segments it knows
        stats = self._log.stats()
        now = time.monotonic()
        end = 0 if last is None else last + 1
        used = sum(one["used_bytes"] for one in stats["segments"])
        before, self._before = self._before, (now, end, used)
        self._read_newest(stats["first_seq"], end)
        durable_end = 0 if stats["durable_seq"] is None else stats["durable_seq"] + 1
        acts, trouble = self._acts()
        return {
            "log": str(self._path),
            "ts_ns": time.time_ns(),
            "first_seq": stats["first_seq"],
            "last_seq": last,
            "durable_seq": stats["durable_seq"],
            "undurable_events": max(0, end - durable_end),
            "event_count": stats["event_count"],
            "aggregate_count": stats["aggregate_count"],
            "epoch": stats["epoch"],
            **_rates(before, self._before),
            "types": self._types(),
            "segment_count": len(stats["segments"]),
            "file_bytes": sum(one["file_bytes"] for one in stats["segments"]),
            "used_bytes": used,
            "segments": stats["segments"][-NEWEST_SEGMENTS:],
            "acts": acts,
            "audit_problem": trouble,
        }

    def _read_newest(self, first: int, end: int) -> None:
        """Read what was appended since, but no more than is shown."""
        known = self._newest[-1].seq + 1 if self._newest else 0
        start = max(first, known, end - NEWEST_EVENTS)
        if start >= end:
            return
        try:
            self._newest.extend(
                _Seen(str(event.event_type), event.seq or 0, event.aggregate_id, event.ts_ns or 0)
                for event in self._log.read(after=start - 1 if start else None, up_to=end - 1)
            )
        except TruncatedError:  # they expired between the two calls; the next look begins behind them
            self._newest.clear()

    def _types(self) -> list[dict[str, Any]]:
        """Each type among the newest events, the one with the newest event first."""
        found: dict[str, dict[str, Any]] = {}
        for one in reversed(self._newest):
            newest = {
                "count": 0,
                "last_seq": one.seq,
                "aggregate_id": one.aggregate_id,
                "last_ts_ns": one.ts_ns,
            }
            entry = found.setdefault(one.event_type, {"event_type": one.event_type, **newest})
            entry["count"] += 1
        return list(found.values())

    def _acts(self) -> tuple[list[dict[str, Any]], str | None]:
        """The newest acts on record, oldest first, and why they cannot be read, if so. Opened anew each time: it is small."""
        try:
            trail = _core.Log(self._path / AUDIT, mode="r")
        except FileNotFoundError:
            return [], None
        except (AresbusError, OSError) as error:
            return [], str(error)
        try:
            last = trail.last_seq
            after = None if last is None or last < NEWEST_ACTS else last - NEWEST_ACTS
            return [_act(event) for event in islice(trail.read(after=after), NEWEST_ACTS)], None
        except (AresbusError, OSError, LookupError, TypeError) as error:
            return [], str(error)
        finally:
            trail.close()


def _act(event: _core.Event) -> dict[str, Any]:
    entry, actor = event.data, event.data["actor"]
    return {
        "ts_ns": event.ts_ns,
        "act": str(event.event_type),
        "phase": entry.get("outcome") or entry["phase"],
        "user": actor["user"],
        "pid": actor["pid"],
        "reason": actor["reason"],
    }


def _rates(before: tuple[float, int, int] | None, after: tuple[float, int, int]) -> dict[str, float | None]:
    if before is None or after[0] <= before[0]:
        return {"seconds": None, "events_per_second": None, "bytes_per_second": None}
    seconds = after[0] - before[0]
    return {
        "seconds": seconds,
        "events_per_second": max(0, after[1] - before[1]) / seconds,
        "bytes_per_second": max(0, after[2] - before[2]) / seconds,
    }
