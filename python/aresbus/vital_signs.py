"""What a bus's health is judged by: facts of one moment, gathered without blocking and without an opinion.

Owns the shapes of these facts and how they are gathered from a delivery. Judges nothing: limits and verdicts are
health's. Invariants: gathering costs the delivery of events nothing and never touches the disk, but for
:func:`disk_space`, which is called off the loop.
"""

import os
import time
from dataclasses import dataclass
from typing import Self

from aresbus.anchoring import AnchorReport
from aresbus.delivery import Delivery
from aresbus.delivery.frontier import Frontier
from aresbus.errors import LogClosedError
from aresbus.log import Log
from aresbus.reports import LogStats, RecoveryReport
from aresbus.subscriptions import Subscription

__all__ = ["DiskSpace", "Moment", "Signs", "SubscriptionSigns", "disk_space", "signs_of"]

CLOCK_READINGS = 3


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment on three clocks: ``monotonic`` in seconds, wall and boot clock in ns."""

    monotonic: float
    wall_ns: int
    boot_ns: int

    @classmethod
    def now(cls) -> Self:
        """This moment; the boot clock goes on while the machine sleeps, so only a step moves wall against it."""
        readings = []
        for _ in range(CLOCK_READINGS):
            before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            wall = time.time_ns()
            readings.append((time.clock_gettime_ns(time.CLOCK_BOOTTIME) - before, wall, before))
        # A thread that lost its turn between the two clocks would look like a step of the clock.
        _, wall, boot = min(readings)
        return cls(time.monotonic(), wall, boot)


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """What is free for this user on a file system; ``total_inodes`` is 0 where it counts none."""

    free_bytes: int
    total_bytes: int
    free_inodes: int
    total_inodes: int


def disk_space(path: str | os.PathLike[str]) -> DiskSpace:
    """Ask the file system under ``path``. Blocks for the disk. Raises OSError."""
    found = os.statvfs(path)
    return DiskSpace(
        found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, found.f_favail, found.f_files
    )


@dataclass(frozen=True, slots=True)
class SubscriptionSigns:
    """One subscription: its name, how many events it is behind, the seq it is busy with, deliveries parked now, why it halts."""

    key: int
    name: str
    lag: int
    busy_with: int | None
    parked: int
    halted_for: str | None = None


@dataclass(frozen=True, slots=True)
class Signs:
    """Everything that health looks at. What is None was not asked, or is not there."""

    moment: Moment
    log: LogStats | None = None
    recovery: RecoveryReport | None = None
    anchors: AnchorReport | None = None
    poisoned: str | None = None
    disk: DiskSpace | OSError | None = None
    subscriptions: tuple[SubscriptionSigns, ...] = ()
    is_running: bool | None = None
    held_for: tuple[float, str] | None = None
    snapshots_damaged: int = 0
    """How many were found damaged, or of events that are lost, since the bus was made."""
    last_error: str | None = None
    last_error_at: float | None = None
    retention: str = ""


def signs_of(
    delivery: Delivery,
    *,
    disk: DiskSpace | OSError | None = None,
    is_running: bool | None = None,
    held_for: tuple[float, str] | None = None,
    moment: Moment | None = None,
    retention: str = "",
) -> Signs:
    """The signs of a bus now. Any thread. Opens nothing, waits for nothing; a closed log has no signs.

    ``disk`` is what :func:`disk_space` gave or raised; ``held_for`` and ``is_running`` are the runner's, ``retention``
    is why nothing expires although it should.
    """
    log, troubles = delivery.frontier.log, delivery.troubles
    stats, recovery, poisoned, anchors = None, None, None, None
    try:
        if log is not None:
            poisoned, recovery = log.poisoned, log.recovery
            anchors = log.anchors if isinstance(log, Log) else None
            # A reader's figures are its writer's affair, and asking for them reads the log.
            stats = log.stats() if log.mode == "rw" else None
    except LogClosedError:
        stats, recovery, poisoned, anchors, disk = None, None, None, None, None
    return Signs(
        moment=moment or Moment.now(),
        log=stats,
        recovery=recovery,
        anchors=anchors,
        poisoned=poisoned,
        disk=disk,
        subscriptions=tuple(_signs_of_one(one, delivery.frontier) for one in delivery.roster.all()),
        is_running=is_running,
        held_for=held_for,
        snapshots_damaged=delivery.counters.snapshots_damaged,
        last_error=troubles.last_text,
        last_error_at=troubles.last_at,
        retention=retention,
    )


def _signs_of_one(one: Subscription, frontier: Frontier) -> SubscriptionSigns:
    current = one.current
    return SubscriptionSigns(
        key=id(one),
        name=one.name,
        lag=frontier.lag(one),
        busy_with=None if current is None or one.busy_since is None else current.seq,
        parked=len(one.parking),
        halted_for=one.halted_for,
    )
