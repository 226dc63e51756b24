"""When snapshots are made: the policy a user states, and which aggregates it makes due as events go by.

Owns the conditions, and what is remembered of aggregates between two snapshots. Makes none, reads no log, asks no
predicate. Invariant: an aggregate that is due becomes so by an event of its own or by time, and is told once.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from aresbus._core import Event
from aresbus.snapshot_record import KEPT

__all__ = ["Schedule", "SnapshotPolicy", "Span", "When"]

When: TypeAlias = Callable[[dict[str, Any], Event], bool]
"""Whether a snapshot is due after the event, given the state that holds it. Changes neither."""
NS_PER_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPolicy:
    """When a snapshot of an aggregate is made: whenever any of the conditions that are given holds. None: by hand only.

    Raises ValueError and TypeError for conditions that cannot be.
    """

    every_events: int | None = None
    """After so many events of the aggregate: after its version n - 1, 2n - 1, ... From 1."""
    every_seconds: float | None = None
    """So long, by the clock of the bus, after its first event that is in no snapshot. Looked at with the next event, and
    every ``processing_interval``."""
    when: When | None = None
    """Asked as ``when(state, event)`` after each event; the snapshot is of the newest one for which it holds."""
    kept: int = KEPT
    """How many snapshots of the aggregate are kept, the newest; older ones go once a newer one is durable. From 1."""

    def __post_init__(self) -> None:
        if self.every_events is not None:
            _check_count("every_events", self.every_events)
        _check_count("kept", self.kept)
        seconds: Any = self.every_seconds
        if seconds is not None:
            if isinstance(seconds, bool) or not isinstance(seconds, int | float):
                raise TypeError(f"every_seconds: got {seconds!r}, takes a number")
            if not (math.isfinite(seconds) and seconds > 0):
                raise ValueError(f"every_seconds: got {seconds}, takes a number above 0")
        when: Any = self.when
        if when is not None and (not callable(when) or inspect.iscoroutinefunction(when)):
            raise TypeError(f"when is a plain function of state and event, not {when!r}")

    def counts(self, before: int | None, version: int) -> bool:
        """Whether ``every_events`` says so of an aggregate that went from one version (None: none) to another."""
        every = self.every_events
        return every is not None and (version + 1) // every > (0 if before is None else before + 1) // every

    def is_old(self, since_ns: int, now_ns: int) -> bool:
        """Whether ``every_seconds`` says so of an event of ``since_ns`` that is in no snapshot.

        Of one in the future too: a clock that was set back by hours puts nothing off by hours.
        """
        return (
            self.every_seconds is not None and not 0 <= now_ns - since_ns < self.every_seconds * NS_PER_SECOND
        )


def _check_count(name: str, count: Any) -> None:
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"{name}: got {count!r}, takes a whole number")
    if count < 1:
        raise ValueError(f"{name}: got {count}, takes 1 and more")


@dataclass(slots=True)
class Span:
    """Events of one aggregate that something is to be done about: from position ``first`` to ``newest``."""

    first: int
    newest: int

    def cut_before(self, seq: int) -> "Span | None":
        """What lies before ``seq`` and is taken out; None: nothing does."""
        if self.first >= seq:
            return None
        cut = Span(self.first, min(self.newest, seq - 1))
        self.first = seq
        return cut


class _Plan:
    """One policy at work."""

    __slots__ = ("is_looking", "policy", "unseen", "waiting")

    def __init__(self, policy: SnapshotPolicy) -> None:
        self.policy = policy
        self.is_looking = policy.when is not None or policy.every_seconds is not None
        self.unseen: dict[str, Span] = {}
        """Events that the predicate was not asked about."""
        self.waiting: dict[str, tuple[int, int]] = {}
        """Time of the first event that is in no snapshot, and position of the newest, by aggregate; the oldest first."""

    def ripe(self, now_ns: int) -> Iterator[tuple[str, int]]:
        """Those that have waited long enough, with the position of their newest event."""
        for aggregate_id, (since_ns, seq) in self.waiting.items():
            if not self.policy.is_old(since_ns, now_ns):
                return
            yield aggregate_id, seq


class Schedule:
    """Which aggregates of one bus are due. Observing and asking happen on its loop.

    Remembers of each aggregate that waits for time or a predicate two numbers, until its next snapshot.
    """

    def __init__(self, default: SnapshotPolicy, time_ns: Callable[[], int]) -> None:
        """``default`` holds where no other was set; ``time_ns`` is the clock."""
        self._default, self._time_ns = _Plan(default), time_ns
        self._plans: dict[str, _Plan] = {}
        self._due: dict[str, Span] = {}

    def set(self, policy: SnapshotPolicy, category: str | None) -> None:
        """From now on; what waited under the policy before is forgotten. ``category`` None: where no other was set."""
        if category is None:
            self._default = _Plan(policy)
        else:
            self._plans = {**self._plans, category: _Plan(policy)}

    def policy_of(self, category: str) -> SnapshotPolicy:
        """What holds for the aggregates of a category."""
        return self._plans.get(category, self._default).policy

    def observe(self, seq: int, event: Event, category_of: Callable[[str], str]) -> bool:
        """Note that the event goes out to subscribers; whether its aggregate may have become due."""
        version = event.aggregate_version
        if version is None:
            return False
        plan = self._default
        if self._plans:
            plan = self._plans.get(category_of(event.aggregate_id or ""), plan)
        every = plan.policy.every_events
        is_full = every is not None and (version + 1) % every == 0
        if is_full:
            _add(self._due, event.aggregate_id or "", seq)
        if plan.is_looking:
            self._look(plan, event.aggregate_id or "", seq)
        return is_full or plan.is_looking

    def _look(self, plan: _Plan, aggregate_id: str, seq: int) -> None:
        if plan.policy.every_seconds is not None:
            known = plan.waiting.get(aggregate_id)
            plan.waiting[aggregate_id] = (self._time_ns() if known is None else known[0], seq)
        if plan.policy.when is not None:
            _add(plan.unseen, aggregate_id, seq)

    @property
    def is_waiting(self) -> bool:
        """Whether anything is to be done about events that went out, now or later."""
        plans = (self._default, *self._plans.values())
        return bool(self._due) or any(plan.unseen or plan.waiting for plan in plans)

    def is_due(self, processed: int) -> bool:
        """Whether anything is to be done about events before ``processed``."""
        plans = (self._default, *self._plans.values())
        spans = (self._due, *(plan.unseen for plan in plans))
        if any(one.first < processed for several in spans for one in several.values()):
            return True
        return any(plan.waiting and next(plan.ripe(self._time_ns()), None) is not None for plan in plans)

    def unseen(self, processed: int) -> list[tuple[str, Span, When]]:
        """What predicates are to be asked about, each once: aggregate, events before ``processed``, predicate."""
        found = []
        for plan in (self._default, *self._plans.values()):
            when = plan.policy.when
            for aggregate_id, span in list(plan.unseen.items()):
                cut = span.cut_before(processed)
                if cut is not None and when is not None:
                    found.append((aggregate_id, cut, when))
                if span.first > span.newest:
                    del plan.unseen[aggregate_id]
        return found

    def due(self, processed: int) -> dict[str, int]:
        """The aggregates that are due, with the position to make the snapshot at; they stay due until :meth:`done`."""
        now_ns = self._time_ns()
        for plan in (self._default, *self._plans.values()):
            for aggregate_id, seq in plan.ripe(now_ns):
                _add(self._due, aggregate_id, seq)
        # Of an aggregate that is always busy the newest event that made it due is always still on its way.
        return {
            aggregate_id: min(span.newest, processed - 1)
            for aggregate_id, span in self._due.items()
            if span.first < processed
        }

    def demand(self, aggregate_id: str, seq: int) -> None:
        """The aggregate is due: its snapshot is to be of the event at ``seq``, or a newer one."""
        _add(self._due, aggregate_id, seq)

    def done(self, aggregate_id: str, seq: int) -> None:
        """The snapshot at ``seq`` was made, or could not be: the aggregate is due no more, unless by newer events."""
        span = self._due.get(aggregate_id)
        if span is not None:
            span.cut_before(seq + 1)
            if span.first > span.newest:
                del self._due[aggregate_id]
        for plan in (self._default, *self._plans.values()):
            known = plan.waiting.pop(aggregate_id, None)
            if known is not None and known[1] > seq:
                plan.waiting[aggregate_id] = (self._time_ns(), known[1])


def _add(spans: dict[str, Span], aggregate_id: str, seq: int) -> None:
    known = spans.get(aggregate_id)
    if known is None:
        spans[aggregate_id] = Span(seq, seq)
    else:
        known.newest = max(known.newest, seq)
