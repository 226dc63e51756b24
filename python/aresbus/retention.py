"""Which segments of a log may go, which may not, and why: a policy held against what pins.

Owns the policy and the plan; dropping is the engine's. Changes nothing. Invariants: segments go from the front only, whole
and sealed; whatever keeps one from going is named; age counts from the real time at which the next segment was entered, so a
segment goes with its youngest event.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import accumulate, pairwise
from typing import Any, Literal, TypeAlias, get_args

from aresbus._core import Log
from aresbus.checkpoint_record import Standing, standings_in
from aresbus.errors import ConfigError
from aresbus.holds import Hold
from aresbus.reports import LogStats, SegmentStats

__all__ = ["Pin", "PinKind", "RetentionPlan", "RetentionPolicy", "SegmentFate", "Unreduced", "plan_retention"]

DAY_NS = 86_400 * 10**9
PART_OF_A_PASS = 10
"""At most one segment in ten goes in one pass, but at least one."""

PinKind: TypeAlias = Literal["hold", "subscription", "snapshot", "aggregate"]
"""A legal hold; a durable subscription that has yet to pass; a snapshot that could not be made; an aggregate without reducer."""
Unreduced: TypeAlias = Literal["expire", "keep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """What is kept of a log. A segment expires as soon as one of the three bounds is passed; None is no bound."""

    max_age_days: float | None = None
    """Segments whose last event is older expire. 0, like None, keeps for ever."""
    max_bytes: int | None = None
    """The oldest segments expire while all files together are larger."""
    max_events: int | None = None
    """The oldest segments expire as long as this many events are left without them."""
    unreduced: Unreduced = "expire"
    """Whether a segment with an aggregate that no reducer folds and no snapshot stands for goes ("expire") or stays ("keep")."""
    lag_days: float | None = 7
    """How long a durable subscription keeps an expired segment that it has not passed, from the end of ``max_age_days``; then
    it is told ``Lost``. None: for ever."""
    lag_bytes: int | None = 1 << 30
    """How many bytes of expired segments durable subscriptions keep at most. None: without end."""

    def __post_init__(self) -> None:
        problems = [
            f"{one.name}: got {getattr(self, one.name)!r}, takes a number from 0 on, or None"
            for one in fields(self)
            if one.name != "unreduced" and not _is_bound(getattr(self, one.name))
        ]
        if self.unreduced not in get_args(Unreduced):
            problems.append(f"unreduced: got {self.unreduced!r}, takes {' or '.join(get_args(Unreduced))}")
        if problems:
            raise ConfigError(f"the retention policy is wrong: {'; '.join(problems)}", problems=problems)

    @property
    def is_endless(self) -> bool:
        """Whether nothing ever expires."""
        return not self.max_age_days and self.max_bytes is None and self.max_events is None


@dataclass(frozen=True, slots=True)
class Pin:
    """What keeps a segment: the kind, the name of the one, and why in a sentence."""

    kind: PinKind
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class SegmentFate:
    """One segment and what becomes of it. Times in ns since 1970 UTC, both positions inclusive."""

    number: int
    first_seq: int
    last_seq: int
    file_bytes: int
    rolled_ns: int | None
    """When the next segment was entered; None for the one being written."""
    expired: str
    """By which bound it expired; "" where it has not."""
    pins: tuple[Pin, ...]
    goes: bool
    """Whether the next pass drops it."""
    reason: str
    """Why it goes or stays."""


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What the next pass would drop, and why the rest stays."""

    policy: RetentionPolicy
    now_ns: int
    """The moment that ages were counted at."""
    first_seq: int
    """Oldest event kept now."""
    keeps_from: int
    """Oldest event kept after the pass."""
    segments: tuple[SegmentFate, ...]
    paused: str = ""
    """Why nothing goes at all, where that is so."""

    @property
    def drops(self) -> tuple[SegmentFate, ...]:
        """The segments that go."""
        return tuple(one for one in self.segments if one.goes)

    @property
    def pins(self) -> tuple[Pin, ...]:
        """Everything that keeps a segment that has expired."""
        return tuple(dict.fromkeys(pin for one in self.segments for pin in one.pins))

    @property
    def event_count(self) -> int:
        """Events that go."""
        return self.keeps_from - self.first_seq

    @property
    def file_bytes(self) -> int:
        """Bytes of the files that go."""
        return sum(one.file_bytes for one in self.drops)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: the fields, and ``event_count`` and ``file_bytes``."""
        return {**asdict(self), "event_count": self.event_count, "file_bytes": self.file_bytes}


MorePins: TypeAlias = Callable[[int, int], Iterable[Pin]]
"""What keeps the events from one position up to another, both inclusive, besides holds and subscriptions."""


def plan_retention(
    log: Log,
    policy: RetentionPolicy,
    *,
    now_ns: int,
    holds: Sequence[Hold] = (),
    more_pins: MorePins = lambda _first, _last: (),
    paused: str = "",
) -> RetentionPlan:
    """What the next pass over ``log`` would drop at ``now_ns``. Blocks for the disk where something has expired.

    ``paused`` is why nothing may go now. Raises what reading the log and the memories of its subscriptions raises.
    """
    stats = log.stats()
    expired = _expired(stats, policy, now_ns)
    standings = list(standings_in(log.path)) if expired and log.path is not None else []
    most = max(1, len(stats["segments"]) // PART_OF_A_PASS)
    fates: list[SegmentFate] = []
    keeps_from, stopped = stats["first_seq"], paused
    held_bytes = _held_bytes(stats, standings, len(expired))
    for at, (segment, rolled_ns, end) in enumerate(_with_ends(stats)):
        why = expired[at] if at < len(expired) else ""
        pins: tuple[Pin, ...] = ()
        reason = "it has not expired"
        if why and stopped:
            reason = stopped
        elif why and not segment["is_sealed"]:
            reason = stopped = "it is not sealed yet"
        elif why:
            late = _late_for(policy, rolled_ns, now_ns, held_bytes[at])
            found = (
                *_held(log, holds, segment["first_seq"], end - 1),
                *_awaited(standings, end, late=late),
                *(() if len(fates) >= most else more_pins(segment["first_seq"], end - 1)),
            )
            pins, reason = tuple(found), why
            if pins:
                reason = "; ".join(one.reason for one in pins)
                stopped = f"it lies behind segment {segment['number']}, which stays"
            elif at >= most:
                reason = stopped = (
                    "one segment in ten goes in one pass, but at least one: it goes in a later one"
                )
        goes = bool(why) and not stopped
        keeps_from = end if goes else keeps_from
        fates.append(
            SegmentFate(
                segment["number"],
                segment["first_seq"],
                end - 1,
                segment["file_bytes"],
                rolled_ns,
                why,
                pins,
                goes,
                reason,
            )
        )
    return RetentionPlan(policy, now_ns, stats["first_seq"], keeps_from, tuple(fates), paused)


def _with_ends(stats: LogStats) -> Iterator[tuple[SegmentStats, int | None, int]]:
    """Each segment with the moment it was left at and the position behind its last event."""
    segments, last = stats["segments"], stats["last_seq"]
    for one, following in pairwise(segments):
        yield one, following["entered_ns"], following["first_seq"]
    if segments:
        yield segments[-1], None, 0 if last is None else last + 1


def _expired(stats: LogStats, policy: RetentionPolicy, now_ns: int) -> list[str]:
    """Of each segment from the front why it has expired, up to the first that has not; never the last one."""
    left_bytes = sum(one["file_bytes"] for one in stats["segments"])
    end_of_log = 0 if stats["last_seq"] is None else stats["last_seq"] + 1
    found: list[str] = []
    for segment, rolled_ns, end in _with_ends(stats):
        if rolled_ns is None:
            break
        days = (now_ns - rolled_ns) / DAY_NS
        if policy.max_age_days and days >= policy.max_age_days:
            found.append(f"its last event is {days:.1f} days old, more than {policy.max_age_days:g}")
        elif policy.max_bytes is not None and left_bytes > policy.max_bytes:
            found.append(f"from it on the log has {left_bytes} bytes, more than {policy.max_bytes}")
        elif policy.max_events is not None and end_of_log - end >= policy.max_events:
            found.append(f"there are {policy.max_events} events behind it")
        else:
            break
        left_bytes -= segment["file_bytes"]
    return found


def _held(log: Log, holds: Sequence[Hold], first: int, last: int) -> Iterator[Pin]:
    for hold in holds:
        if hold.holds_in(log, first, last):
            yield Pin("hold", hold.name, f"the hold {hold.name!r} keeps events of it: {hold.reason}")


def _held_bytes(stats: LogStats, standings: Sequence[Standing], count: int) -> list[int]:
    """Of each of the first ``count`` segments, how many bytes have to stay if it does: those of all expired ones from it on."""
    sizes = [one["file_bytes"] for one in stats["segments"][:count]] if standings else [0] * count
    return list(accumulate(reversed(sizes)))[::-1]


def _late_for(policy: RetentionPolicy, rolled_ns: int | None, now_ns: int, held_bytes: int) -> bool:
    """Whether subscriptions have had their time with a segment."""
    days, most = policy.lag_days, policy.max_age_days
    if days is not None and most and rolled_ns is not None and now_ns - rolled_ns >= (most + days) * DAY_NS:
        return True
    return policy.lag_bytes is not None and held_bytes > policy.lag_bytes


def _awaited(standings: Sequence[Standing], end: int, *, late: bool) -> Iterator[Pin]:
    for one in standings:
        if one.next_seq < end and not late:
            yield Pin(
                "subscription",
                one.name,
                f"the subscription {one.name!r} stands before event {one.next_seq} and has yet to pass",
            )


def _is_bound(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value >= 0)
