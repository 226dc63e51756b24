"""What a log is told about keeping: plans and passes of retention, legal holds.

Owns these calls and their records in the audit log. What may go is retention's to say, dropping the engine's. Invariant:
nothing is dropped, held or released that is not on record.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

from aresbus import _core
from aresbus.errors import ConfigError
from aresbus.holds import Hold, Holds
from aresbus.reports import RetentionReport
from aresbus.retention import MorePins, RetentionPlan, RetentionPolicy, plan_retention

__all__ = ["RetainingLog"]


class RetainingLog(_core.Log):
    """A log that can let events go, and hold them. Users open an :class:`aresbus.Log`."""

    _time_ns: Callable[[], int]

    def act(
        self, name: str, details: Mapping[str, Any] | None = None, *, reason: str = ""
    ) -> AbstractContextManager[dict[str, Any]]:
        """Record an administrative act around a ``with`` block; how, the log says that is opened."""
        raise NotImplementedError

    def retention_plan(
        self,
        policy: RetentionPolicy,
        *,
        now_ns: int | None = None,
        more_pins: MorePins = lambda _first, _last: (),
        paused: str = "",
    ) -> RetentionPlan:
        """What a pass of retention by ``policy`` would drop now, and why the rest stays. Changes nothing.

        ``now_ns``: the moment that ages count from, ns since 1970; by default now, on the clock of the log.
        ``more_pins`` names what keeps events from one position up to another, both inclusive, besides holds and
        durable subscriptions; ``paused`` says why nothing may go at all. A log in memory has its own bound,
        ``memory_bytes``, and a plan that drops nothing. Blocks for the disk where something has expired. Raises
        CorruptionError, StorageError, LogClosedError.
        """
        holds = () if self.path is None else Holds(self.path, self.log_id).read()
        now_ns = self._time_ns() if now_ns is None else now_ns
        return plan_retention(self, policy, now_ns=now_ns, holds=holds, more_pins=more_pins, paused=paused)

    def apply_retention(self, plan: RetentionPlan, *, reason: str = "") -> RetentionReport:
        """Drop what ``plan`` drops and no hold or subscription pins since; intent and outcome go to the audit log.

        Whole sealed segments from the front, durable on return; versions of aggregates go on as if nothing had been
        dropped. Readers inside a dropped segment finish undisturbed, later ones get TruncatedError. Raises
        StorageError for a log in mode "r", CorruptionError, LogPoisonedError, LogClosedError: nothing was dropped.
        """
        path = self.path
        if path is None:
            return self._retain(0)
        holds = Holds(path, self.log_id)
        with holds.locked():
            now = plan_retention(
                self, plan.policy, now_ns=plan.now_ns, holds=holds.read(), paused=plan.paused
            )
            keeps_from = min(plan.keeps_from, now.keeps_from)
            if keeps_from <= now.first_seq:
                return self._retain(0)
            intent = {"policy": asdict(plan.policy), "keeps_from": keeps_from, "first_seq": now.first_seq}
            with self.act("retention.apply", intent, reason=reason) as result:
                dropped = self._retain(keeps_from)
                result.update(dropped)
        return dropped

    def hold(self, name: str, query: Mapping[str, Any], reason: str) -> Hold:
        """Keep the events that match ``query``, keywords of :meth:`read`, from expiring until :meth:`release`.

        A legal hold: it keeps each segment that has such an event, now or later, survives restarts, and is recorded in
        the audit log with ``reason``; ``{}`` holds everything. Durable on return. Any process may call it, also beside a
        writer, with a log opened in mode "r". Raises ConfigError for a wrong query, an empty reason, a name that is in
        use and a log in memory; CorruptionError, StorageError.
        """
        details = {"hold": name, "query": {key: str(value) for key, value in query.items()}}
        with self.act("retention.hold", details, reason=reason):
            return Holds(self._path_for_holds(), self.log_id).add(name, query, reason)

    def release(self, name: str, *, reason: str = "") -> Hold:
        """End the hold ``name``; recorded in the audit log. Durable on return; any process.

        Raises ConfigError where there is no such hold, CorruptionError, StorageError.
        """
        with self.act("retention.release", {"hold": name}, reason=reason):
            return Holds(self._path_for_holds(), self.log_id).release(name)

    @property
    def holds(self) -> tuple[Hold, ...]:
        """The holds in force, in the order in which they were made. Raises CorruptionError, StorageError."""
        return () if self.path is None else Holds(self.path, self.log_id).read()

    def _path_for_holds(self) -> str:
        if self.path is None:
            problem = "path: a log in memory keeps no holds"
            raise ConfigError(f"the hold cannot be made: {problem}", problems=[problem])
        return self.path
