"""Whether a bus is well: checks with limits, a verdict with a reason each, and a log line when one changes.

Owns the limits and the verdicts, and since when a condition holds. Gathers nothing and knows no bus: it is given
:class:`Signs`. Invariants: a check blocks for nothing and never raises; a change of a verdict is logged once; a bus is
as well as its worst check.
"""

import logging
import math
import threading
from collections.abc import Hashable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from aresbus.troubles import Troubles
from aresbus.vital_signs import DiskSpace, Signs

__all__ = ["Health", "HealthCheck", "HealthLimits", "HealthReport", "HealthStatus"]

HealthStatus: TypeAlias = Literal["healthy", "degraded", "unhealthy"]
"""``degraded``: works, somebody should look. ``unhealthy``: does not do its work; a supervisor may restart it."""

SEVERITY: dict[HealthStatus, int] = {"healthy": 0, "degraded": 1, "unhealthy": 2}
LEVELS = {"healthy": logging.INFO, "degraded": logging.WARNING, "unhealthy": logging.ERROR}
SHORTEST_RATE_SECONDS, RATE_WINDOW_SECONDS = 60, 1_800
"""A rate of growth is that of the last half to whole hour, and unknown in the first minute."""
DAY_SECONDS = 86_400
SLEW = 0.001
"""A clock that is being corrected gently may gain this much, twice what the kernel does at most."""
FEW_INODES = 1_000
STOPPING_SECONDS = 1
NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthLimits:
    """What health tolerates. Sizes in bytes, times in seconds."""

    disk_low_bytes: int = 1 << 30
    """Less free space than this is degraded."""
    disk_critical_bytes: int = 128 << 20
    """Less than this is unhealthy: the room of two segments of the default size."""
    disk_low_days: float = 3
    """A log that would fill the disk within this time, as it grew of late, is degraded."""
    sync_seconds: float = 1
    """A longer sync of the disk is degraded, for ``recent_seconds``."""
    durable_seconds: float = 5
    """Events that are appended and for this long not durable are degraded; ten times as long is unhealthy."""
    lag_events: int = 10_000
    lag_seconds: float = 60
    """A subscription that is more than ``lag_events`` behind for longer than ``lag_seconds`` is degraded."""
    busy_seconds: float = 60
    """A handler that is busy with one event for longer is degraded."""
    parked: int = 0
    """A subscription with more parked deliveries is degraded."""
    clock_step_seconds: float = 0.5
    """A step of the wall clock by more is degraded, for ``recent_seconds``; by more than an hour in all for good."""
    clock_drift_seconds: float = 3_600
    recent_seconds: float = 300
    """How long an error, a slow sync, a damaged snapshot or a step of the clock is shown."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One verdict. ``reason`` is "" where there is nothing to say; ``value`` was compared with ``limit``."""

    status: HealthStatus
    reason: str = ""
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The verdict on a bus: its worst check's, every check by name, and the reasons of those that are not healthy."""

    status: HealthStatus
    checks: dict[str, HealthCheck]
    reasons: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: ``status``, ``checks`` (name to ``status``, ``reason``, ``value``, ``limit``), ``reasons``."""
        return asdict(self)


HEALTHY = HealthCheck("healthy")


class Health:
    """Judges one bus, look after look. From any thread."""

    def __init__(self, troubles: Troubles, limits: HealthLimits | None = None) -> None:
        """Changes of a verdict are told to ``troubles``."""
        self.limits: HealthLimits = limits or HealthLimits()
        self._troubles = troubles
        self._looking = threading.Lock()
        self._previous: dict[str, HealthCheck] = {}
        self._lagging, self._busy = _Lasting(), _Lasting()
        self._undurable, self._missed = _Lasting(), _Lasting()
        self._growth = _Growth()
        self._syncs: tuple[int, int, int] = (0, 0, 0)
        self._slow_sync: tuple[float, float] | None = None
        self._damaged: tuple[int, float] = (0, -math.inf)
        self._clocks: tuple[int, int] | None = None
        self._drift_ns = 0
        self._step: tuple[float, float] | None = None
        self._has_run = False

    def check(self, signs: Signs) -> HealthReport:
        """Judge; a check that changed its mind since the last look is logged, an improvement too."""
        with self._looking:
            checks = {
                "log": self._check_log(signs),
                "recovery": _check_recovery(signs),
                "disk": self._check_disk(signs),
                "sync": self._check_sync(signs),
                "durability": self._check_durability(signs),
                "anchors": _check_anchors(signs),
                "run": self._check_run(signs),
                "loop": _check_loop(signs),
                "handlers": self._check_handlers(signs),
                "lag": self._check_lag(signs),
                "parked": self._check_parked(signs),
                "snapshots": self._check_snapshots(signs),
                "errors": self._check_errors(signs),
                "clock": self._check_clock(signs),
                "retention": HealthCheck("degraded", signs.retention) if signs.retention else HEALTHY,
            }
            before, self._previous = self._previous, checks
        for name, one in checks.items():
            self._tell(name, one, before.get(name, HEALTHY))
        bad = sorted(
            (one for one in checks.values() if one.status != "healthy"), key=lambda one: -SEVERITY[one.status]
        )
        return HealthReport(bad[0].status if bad else "healthy", checks, [one.reason for one in bad])

    def _tell(self, name: str, now: HealthCheck, before: HealthCheck) -> None:
        if now.status == before.status:
            return
        because = now.reason if now.status != "healthy" else f"no longer: {before.reason}"
        self._troubles.report(
            f"health {name}",
            f"health: {name} is {now.status}: {because}",
            level=LEVELS[now.status],
            fields={"check": name, "previous": before.status, **asdict(now)},
        )

    # The log

    def _check_log(self, signs: Signs) -> HealthCheck:
        if signs.poisoned:
            return HealthCheck("unhealthy", f"the log takes no appends: {signs.poisoned}")
        problem = signs.log["problem"] if signs.log is not None else None
        return HealthCheck("degraded", f"the log has trouble: {problem}") if problem else HEALTHY

    def _check_disk(self, signs: Signs) -> HealthCheck:
        disk = signs.disk
        if isinstance(disk, OSError):
            return HealthCheck("unhealthy", f"the log's folder cannot be reached: {disk}")
        if disk is None:
            return HEALTHY
        per_second = None
        if signs.log is not None:
            used = sum(one["used_bytes"] for one in signs.log["segments"])
            per_second = self._growth.per_second(used, signs.moment.monotonic)
        return self._check_room(disk, per_second)

    def _check_room(self, disk: DiskSpace, growth_per_second: float | None) -> HealthCheck:
        free, limits = disk.free_bytes, self.limits
        if free < limits.disk_critical_bytes:
            reason = f"the disk is nearly full: {_mib(free)} free"
            return HealthCheck("unhealthy", reason, free, limits.disk_critical_bytes)
        if free < limits.disk_low_bytes:
            reason = f"the disk has little room: {_mib(free)} free"
            return HealthCheck("degraded", reason, free, limits.disk_low_bytes)
        if disk.total_inodes and disk.free_inodes < FEW_INODES:
            reason = f"the disk has room for {disk.free_inodes} more files only"
            return HealthCheck("degraded", reason, disk.free_inodes, FEW_INODES)
        if growth_per_second is not None and growth_per_second > 0:
            days = free / growth_per_second / DAY_SECONDS
            if days < limits.disk_low_days:
                reason = f"the disk is full in {days:.1f} days if the log grows as it did of late"
                return HealthCheck("degraded", reason, days, limits.disk_low_days)
        return HealthCheck("healthy", "", free, limits.disk_low_bytes)

    def _check_sync(self, signs: Signs) -> HealthCheck:
        stats, limit, now = signs.log, self.limits.sync_seconds, signs.moment.monotonic
        if stats is None:
            return HEALTHY
        count, total, longest = self._syncs
        self._syncs = stats["sync_count"], stats["sync_ns_total"], stats["sync_ns_max"]
        if stats["sync_count"] < count:  # another handle counts anew
            count = total = longest = 0
        made = stats["sync_count"] - count
        mean = (stats["sync_ns_total"] - total) / made / 1e9 if made else 0.0
        worst = max(mean, stats["sync_ns_max"] / 1e9 if stats["sync_ns_max"] > longest else 0.0)
        if worst > limit:
            self._slow_sync = worst, now
        if self._slow_sync is not None and now - self._slow_sync[1] <= self.limits.recent_seconds:
            seconds = self._slow_sync[0]
            return HealthCheck("degraded", f"a sync of the disk took {seconds:.1f} s", seconds, limit)
        return HealthCheck("healthy", "", worst, limit)

    def _check_durability(self, signs: Signs) -> HealthCheck:
        stats, limit = signs.log, self.limits.durable_seconds
        if stats is None or stats["path"] is None or stats["durability"] == "none":
            return HEALTHY
        last, durable = stats["last_seq"], stats["durable_seq"]
        waiting = 0 if last is None else last - (-1 if durable is None else durable)
        # As long as the durable position moves, the disk keeps up, however many events are always on their way.
        lasting = self._undurable.update([durable] if waiting else [], signs.moment.monotonic)
        seconds = max(lasting.values(), default=0.0)
        if seconds <= limit:
            return HealthCheck("healthy", "", seconds, limit)
        reason = f"{waiting} events are not durable, and nothing became durable for {seconds:.0f} s"
        return HealthCheck("unhealthy" if seconds > 10 * limit else "degraded", reason, seconds, limit)

    def _check_snapshots(self, signs: Signs) -> HealthCheck:
        count, now = signs.snapshots_damaged, signs.moment.monotonic
        if count != self._damaged[0]:
            self._damaged = count, now
        if now - self._damaged[1] > self.limits.recent_seconds:
            return HealthCheck("healthy", "", count)
        reason = f"damaged snapshots were met {count} times and passed over: aresbus snapshots check"
        return HealthCheck("degraded", reason, count)

    # Delivery

    def _check_run(self, signs: Signs) -> HealthCheck:
        self._has_run |= signs.is_running is True
        is_open = signs.recovery is not None
        is_missed = self._has_run and is_open and signs.is_running is False
        # A bus that is being stopped closes its log a moment after its run ended, and there is nothing to miss.
        lasting = self._missed.update(["run"] if is_missed else [], signs.moment.monotonic)
        if max(lasting.values(), default=0.0) <= STOPPING_SECONDS:
            return HEALTHY
        return HealthCheck("unhealthy", "run() has ended, and nothing is delivered")

    def _check_handlers(self, signs: Signs) -> HealthCheck:
        names = {
            (one.key, one.busy_with): one.name for one in signs.subscriptions if one.busy_with is not None
        }
        lasting = self._busy.update(names, signs.moment.monotonic)
        busy = _judge_lasting(names, lasting, self.limits.busy_seconds, "is busy with one event")
        halted = [
            f"{one.name} ({one.halted_for})" for one in signs.subscriptions if one.halted_for is not None
        ]
        if not halted:
            return busy
        reasons = [f"halted until somebody resumes them: {_named(halted)}", busy.reason]
        return HealthCheck("degraded", "; ".join(filter(None, reasons)), len(halted), 0)

    def _check_lag(self, signs: Signs) -> HealthCheck:
        limit = self.limits.lag_events
        late = {one.key: one.name for one in signs.subscriptions if one.lag > limit}
        lasting = self._lagging.update(late, signs.moment.monotonic)
        verdict = _judge_lasting(
            late, lasting, self.limits.lag_seconds, f"is more than {limit} events behind"
        )
        worst = max((one.lag for one in signs.subscriptions), default=0)
        return HealthCheck(verdict.status, verdict.reason, worst, limit)

    def _check_parked(self, signs: Signs) -> HealthCheck:
        limit = self.limits.parked
        worst = max((one.parked for one in signs.subscriptions), default=0)
        if worst <= limit:
            return HealthCheck("healthy", "", worst, limit)
        several = [f"{one.name} ({one.parked})" for one in signs.subscriptions if one.parked > limit]
        return HealthCheck("degraded", f"deliveries are parked: {_named(several)}", worst, limit)

    def _check_errors(self, signs: Signs) -> HealthCheck:
        limit = self.limits.recent_seconds
        if signs.last_error_at is None:
            return HEALTHY
        age = signs.moment.monotonic - signs.last_error_at
        if age > limit:
            return HealthCheck("healthy", "", age, limit)
        return HealthCheck("degraded", f"the last error is recent: {signs.last_error}", age, limit)

    def _check_clock(self, signs: Signs) -> HealthCheck:
        moment, limits = signs.moment, self.limits
        before, self._clocks = self._clocks, (moment.wall_ns, moment.boot_ns)
        if before is not None:
            passed = moment.boot_ns - before[1]
            moved = moment.wall_ns - before[0] - passed
            self._drift_ns += moved
            if abs(moved) > limits.clock_step_seconds * 1e9 + SLEW * passed:
                self._step = moved / 1e9, moment.monotonic
        drift = self._drift_ns / 1e9
        if abs(drift) > limits.clock_drift_seconds:
            reason = f"the wall clock moved by {drift:+.0f} s since the bus began"
            return HealthCheck("degraded", reason, drift, limits.clock_drift_seconds)
        if self._step is not None and moment.monotonic - self._step[1] <= limits.recent_seconds:
            reason = f"the wall clock stepped by {self._step[0]:+.3f} s"
            return HealthCheck("degraded", reason, self._step[0], limits.clock_step_seconds)
        return HealthCheck("healthy", "", drift, limits.clock_drift_seconds)


def _check_loop(signs: Signs) -> HealthCheck:
    if signs.held_for is None:
        return HEALTHY
    seconds, name = signs.held_for
    reason = f"the loop is held for {seconds:.1f} s and more; handler entered last: {name}"
    return HealthCheck("degraded", reason, seconds)


def _check_anchors(signs: Signs) -> HealthCheck:
    anchors = signs.anchors
    if anchors is None or anchors.problem is None:
        return HEALTHY
    return HealthCheck("degraded", f"the log's last anchor was not stored: {anchors.problem}", anchors.failed)


def _check_recovery(signs: Signs) -> HealthCheck:
    cut = signs.recovery["cut"] if signs.recovery is not None else None
    if cut is None or not cut["quarantined_bytes"]:
        return HEALTHY
    reason = (
        f"the opening cut the log before seq {cut['next_seq']} ({cut['reason']}); "
        f"{cut['quarantined_bytes']} bytes are in quarantine"
    )
    return HealthCheck("degraded", reason, cut["quarantined_bytes"], 0)


class _Lasting:
    """Since when each of some conditions holds."""

    def __init__(self) -> None:
        self._since: dict[Hashable, float] = {}

    def update(self, holding: Iterable[Hashable], now: float) -> dict[Hashable, float]:
        """These hold now, all others do not; for how many seconds each was seen to."""
        self._since = {one: self._since.get(one, now) for one in holding}
        return {one: now - since for one, since in self._since.items()}


class _Growth:
    """How fast a size grows, over the last half to whole hour."""

    def __init__(self) -> None:
        self._anchors: list[tuple[float, int]] = []

    def per_second(self, size: int, now: float) -> float | None:
        """The rate up to ``size`` at ``now``; None while too little time has passed."""
        if not self._anchors or now - self._anchors[-1][0] >= RATE_WINDOW_SECONDS:
            self._anchors = [*self._anchors[-1:], (now, size)]
        since, before = self._anchors[0]
        return (size - before) / (now - since) if now - since >= SHORTEST_RATE_SECONDS else None


def _judge_lasting(
    names: dict[Any, str], lasting: dict[Hashable, float], limit: float, what: str
) -> HealthCheck:
    """Degraded where any of the named conditions holds for longer than ``limit``."""
    seconds = max(lasting.values(), default=0.0)
    if seconds <= limit:
        return HealthCheck("healthy", "", seconds, limit)
    late = [names[key] for key, one in lasting.items() if one > limit]
    return HealthCheck("degraded", f"{_named(late)} {what} for {seconds:.0f} s", seconds, limit)


def _named(names: list[str]) -> str:
    rest = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _mib(size: float) -> str:
    return f"{size / 2**20:,.0f} MiB"
