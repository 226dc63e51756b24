"""How long it takes from events of one type to the events of another that answer them, over any range of a log.

Owns which two events make a pair, and the report. Reads a log, changes nothing. Invariants: one pass in the order of the
log; memory is bounded by :data:`WAITING_LIMIT` first events, however long the range; what has no partner is counted,
never left out in silence.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias, get_args

from aresbus._core import Event, Log
from aresbus.metrics import LatencyHistogram
from aresbus.readable import duration, printable

__all__ = ["LatencyReport", "PairedBy", "latency_between"]

PairedBy: TypeAlias = Literal["correlation", "causation", "aggregate"]
"""What two events have in common: the conversation, the second's cause being the first, or the aggregate."""

WAITING_LIMIT = 100_000
"""First events remembered at once, about 35 MB; beyond them the one that waits longest without an answer is forgotten."""
BAR_WIDTH = 40
SHOWN = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999))


@dataclass(slots=True)
class LatencyReport:
    """What :func:`latency_between` found. Times are between appends, in ns."""

    first_type: str
    second_type: str
    by: PairedBy
    histogram: LatencyHistogram = field(default_factory=LatencyHistogram, compare=False)
    """One entry per pair; percentiles are at most 12.5 % too high."""
    unmatched_first: int = 0
    """Events of the first type that nothing answered before the next one with the same key, or in the range at all."""
    unmatched_second: int = 0
    """Events of the second type with no first one before them in the range."""
    forgotten: int = 0
    """First events dropped at the memory limit. Above 0, some that count as unmatched may have had a partner."""
    backwards: int = 0
    """Pairs whose second event has the earlier time, because the clock stepped back; they count as 0 ns."""

    @property
    def count(self) -> int:
        """How many pairs were found."""
        return self.histogram.count

    def percentile(self, fraction: float) -> int | None:
        """The latency in ns that ``fraction`` of the pairs do not exceed; None without a pair. ValueError beyond 0 to 1."""
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"fraction is from 0 to 1, not {fraction}")
        return self.histogram.percentile(fraction)

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON; ``buckets`` are [upper end in ns, count], those without a pair left out."""
        return {
            "first_type": self.first_type,
            "second_type": self.second_type,
            "by": self.by,
            "count": self.count,
            "unmatched_first": self.unmatched_first,
            "unmatched_second": self.unmatched_second,
            "forgotten": self.forgotten,
            "backwards": self.backwards,
            "latency_ns": {
                **{name: self.percentile(fraction) for name, fraction in SHOWN},
                "max": self.histogram.max_ns if self.count else None,
            },
            "buckets": [list(bucket) for bucket in self.histogram.buckets()],
        }

    def text(self) -> str:
        """The report for a terminal: counts, percentiles, and a bar for each doubling of the latency."""
        lines = [
            f"{self.first_type} → {self.second_type} by {self.by}",
            f"{self.count:,} {'pair' if self.count == 1 else 'pairs'}; without partner {self.unmatched_first:,} first, {self.unmatched_second:,} second",
        ]
        if self.forgotten:
            lines.append(
                f"{self.forgotten:,} first events were forgotten at the memory limit; narrow the range"
            )
        if self.backwards:
            lines.append(f"{self.backwards:,} pairs run backwards: the clock stepped; counted as 0 ns")
        if self.count:
            percentiles = ((name, self.percentile(fraction) or 0) for name, fraction in SHOWN)
            shown = [f"{name} {duration(ns)}" for name, ns in percentiles]
            lines.append("  ".join([*shown, f"max {duration(self.histogram.max_ns)}"]))
            lines += _bars(self.histogram)
        return "\n".join(map(printable, lines))


def latency_between(
    log: Log,
    first_type: str,
    second_type: str,
    *,
    since: datetime | int | None = None,
    until: datetime | int | None = None,
    after: int | None = None,
    up_to: int | None = None,
    by: PairedBy = "correlation",
) -> LatencyReport:
    """The time from events of ``first_type`` to those of ``second_type``, within a range of the log.

    Each second event makes a pair with the newest first event before it that has the same key: the same conversation
    (``by="correlation"``), the first being its direct cause ("causation"), or the same aggregate ("aggregate"). So one
    first event may have several answers, each a pair of its own. The types may be the same: then each event answers the
    one before it.

    The range is that of ``Log.read``: ``after`` exclusive, ``up_to`` inclusive, ``since`` inclusive, ``until`` exclusive
    (aware datetimes or ns since 1970, by append). One pass; memory for 100,000 waiting first events, about 35 MB.
    Blocks for the disk; any thread. Raises ValueError for another ``by``, and what ``Log.read`` raises.
    """
    if by not in get_args(PairedBy):
        raise ValueError(f"by: got {by!r}, takes {', '.join(get_args(PairedBy))}")
    pairing = _Pairing(LatencyReport(str(first_type), str(second_type), by))
    for event in log.read(after, up_to, since, until, types=[str(first_type), str(second_type)]):
        pairing.take(event)
    return pairing.done()


class _Pairing:
    """The one pass: first events by key, the newest of each, in the order in which they came."""

    def __init__(self, report: LatencyReport) -> None:
        self._report = report
        # Of a plain dict, finding the oldest key takes longer the more keys went before it.
        self._waiting: OrderedDict[str, tuple[int, bool]] = OrderedDict()
        """Key to the time of the newest first event, and whether something answered it."""

    def take(self, event: Event) -> None:
        event_type, report = str(event.event_type), self._report
        if event_type == report.second_type:
            self._answer(event)
        if event_type == report.first_type:
            self._wait(event)

    def done(self) -> LatencyReport:
        self._report.unmatched_first += sum(not is_answered for _, is_answered in self._waiting.values())
        self._waiting.clear()
        return self._report

    def _answer(self, event: Event) -> None:
        key = event.causation_id if self._report.by == "causation" else self._key(event)
        first = None if key is None else self._waiting.get(key)
        if key is None or first is None:
            self._report.unmatched_second += 1
            return
        took = (event.ts_ns or 0) - first[0]
        self._report.backwards += took < 0
        self._report.histogram.record(took)
        self._waiting[key] = (first[0], True)

    def _wait(self, event: Event) -> None:
        key = event.event_id if self._report.by == "causation" else self._key(event)
        if key is None:
            self._report.unmatched_first += 1
            return
        # Taken out and put in again: the keys stay in the order of the log.
        self._replaced(self._waiting.pop(key, None))
        self._waiting[key] = (event.ts_ns or 0, False)
        if len(self._waiting) > WAITING_LIMIT:
            self._report.forgotten += 1
            self._replaced(self._waiting.popitem(last=False)[1])

    def _replaced(self, first: tuple[int, bool] | None) -> None:
        if first is not None and not first[1]:
            self._report.unmatched_first += 1

    def _key(self, event: Event) -> str | None:
        return (
            event.aggregate_id if self._report.by == "aggregate" else event.correlation_id or event.event_id
        )


def _bars(histogram: LatencyHistogram) -> list[str]:
    """A line for each doubling from the lowest to the highest latency, gaps included."""
    doublings: dict[int, int] = {}
    for upper_ns, count in histogram.buckets():
        octave = upper_ns.bit_length()
        doublings[octave] = doublings.get(octave, 0) + count
    most = max(doublings.values())
    lines = []
    for octave in range(min(doublings), max(doublings) + 1):
        count = doublings.get(octave, 0)
        bar = "█" * max(round(BAR_WIDTH * count / most), 1 if count else 0)
        lines.append(f"{'< ' + duration(1 << octave):>12}  {count:>9,}  {bar}".rstrip())
    return lines
