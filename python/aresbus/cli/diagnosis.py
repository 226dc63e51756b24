"""The doctor's verdicts: one item per question, each with what was found and, where it matters, what to do.

Owns which answers are good and the advice for the others. Prints nothing. Invariants: a fact alone is a note and no
finding; a finding says what to do; every question has an answer, if only "not known".
"""

import errno
import importlib.metadata
import os
import platform
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aresbus import _core
from aresbus.cli.machine import ClockState, LockState, Mount, clock_source, clock_state, lock_state, mount_of
from aresbus.cli.terminal import count, counted, size
from aresbus.config import NOT_YET, get_event_bus_config, origins
from aresbus.errors import AresbusError, ConfigError
from aresbus.health import FEW_INODES, HealthLimits
from aresbus.log import open as open_log
from aresbus.vital_signs import DiskSpace, disk_space

__all__ = ["Item", "configuration", "log", "machine", "packages"]

REFUSED = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs", "btrfs", "zfs")
VOLATILE = ("tmpfs", "ramfs")
SLOW_CLOCKS = ("hpet", "acpi_pm", "jiffies", "pit")
FEW_FILES = 1_024
WIDE_ERROR_SECONDS = 0.1
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the very place that is examined
SMALL_SHARED_MEMORY = 16 << 20
EXTRAS = {"rich": "cli", "prometheus_client": "prometheus", "opentelemetry-api": "otel"}


@dataclass(frozen=True, slots=True)
class Item:
    """One answer. A ``finding`` wants something done: ``advice``."""

    section: str
    name: str
    status: Literal["ok", "note", "finding"]
    value: str
    advice: str = ""


def configuration() -> tuple[list[Item], str | None]:
    """Each key with where it comes from, and the configured path; every fault is a finding."""
    try:
        values = get_event_bus_config()["event_bus"]
    except ConfigError as error:
        advice = "correct it: the bus does not start with it"
        return [Item("configuration", "fault", "finding", one, advice) for one in error.problems], None
    where = origins()
    items = [
        Item(
            "configuration",
            key,
            "ok",
            str(value),
            f"from {where[key]}" + ("; without effect yet" if key in NOT_YET else ""),
        )
        for key, value in values.items()
    ]
    return items, str(values["storage_path"])


# The log


def log(path: Path) -> list[Item]:
    """The log in ``path``: its disk, its lock, its state. OSError where the path cannot be examined."""
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "this is no folder", str(path))
    place = path.absolute()
    while not place.exists():
        place = place.parent
    items = [_file_system(mount_of(place)), *_space(disk_space(place)), _access(place)]
    if not (path / "META").exists():
        return [
            *items,
            Item("log", "state", "note", f"there is no log in {path} yet; the first writer makes it"),
        ]
    return [*items, _lock(lock_state(path / "LOCK")), *_state(path)]


def _file_system(mount: Mount | None) -> Item:
    if mount is None:
        return Item("log", "file system", "note", "not known")
    found = f"{mount.kind} at {mount.place}"
    if "ro" in mount.options:
        return Item(
            "log",
            "file system",
            "finding",
            f"{found}, read-only",
            "mount it read-write, or open with mode='r'",
        )
    if mount.kind in REFUSED:
        advice = "locks or syncs cannot be trusted here, so opening is refused: take a local ext4 or xfs"
        return Item("log", "file system", "finding", found, advice)
    if mount.kind in VOLATILE:
        return Item(
            "log", "file system", "finding", found, "it lives in memory: the log is gone after a restart"
        )
    if mount.kind == "overlay":
        advice = "it is a container's own layer and goes with it: put the log on a volume"
        return Item("log", "file system", "finding", found, advice)
    return Item("log", "file system", "ok", found)


def _space(space: DiskSpace) -> list[Item]:
    limits = HealthLimits()
    found = f"{size(space.free_bytes)} free of {size(space.total_bytes)}"
    low = space.free_bytes < limits.disk_low_bytes
    advice = "free some: appends fail once there is no room for the next segment" if low else ""
    items = [Item("log", "disk", "finding" if low else "ok", found, advice)]
    if space.total_inodes:
        few = space.free_inodes < FEW_INODES
        advice = "remove small files: segments and snapshots are files of their own" if few else ""
        value = f"{count(space.free_inodes)} free of {count(space.total_inodes)}"
        items.append(Item("log", "inodes", "finding" if few else "ok", value, advice))
    return items


def _access(place: Path) -> Item:
    if os.access(place, os.R_OK | os.W_OK | os.X_OK):
        return Item("log", "access", "ok", f"{place} can be read and written")
    advice = f"chown or chmod it for uid {os.geteuid()}; a reader needs no right to write"
    return Item("log", "access", "finding", f"{place} cannot be written", advice)


def _lock(state: LockState | None) -> Item:
    if state is None:
        return Item("log", "lock", "note", "not known")
    if state.pid is None:
        return Item("log", "lock", "ok", "free: no writer")
    return Item("log", "lock", "ok", f"held by process {state.pid} ({state.word})")


def _state(path: Path) -> list[Item]:
    try:
        with open_log(path, mode="r") as opened:
            stats, recovery = opened.stats(), opened.recovery
    except AresbusError as error:
        return [
            Item(
                "log", "state", "finding", str(error), f"aresbus explain {error.code}; aresbus verify {path}"
            )
        ]
    last = "none" if stats["last_seq"] is None else count(stats["last_seq"])
    items = [Item("log", "state", "ok", f"{counted(stats['event_count'], 'event')}, newest seq {last}")]
    if recovery["cut"] is not None:
        value = f"ends before seq {recovery['cut']['next_seq']}: {recovery['cut']['reason']}"
        items.append(
            Item("log", "last end", "note", value, "the next writer cuts it there and keeps what lay beyond")
        )
    items += [Item("log", "stray file", "note", stray) for stray in recovery["stray_files"]]
    items += [Item("log", "warning", "note", warning) for warning in recovery["warnings"]]
    kept = [one for one in (path / "quarantine").rglob("*") if one.is_file()]
    if kept:
        value = f"{counted(len(kept), 'file')}, {size(sum(one.stat().st_size for one in kept))}"
        advice = "cut off after a crash; look at them, then remove them: the program never does"
        items.append(Item("log", "quarantine", "finding", value, advice))
    return items


# The machine


def machine() -> list[Item]:
    """Clock, shared memory, kernel, limits of this process."""
    kernel = Item("machine", "kernel", "ok", f"{platform.system()} {platform.release()} {platform.machine()}")
    return [kernel, _clock(clock_state()), _source(clock_source()), _shared_memory(SHARED_MEMORY), *_limits()]


def _clock(state: ClockState | None) -> Item:
    if state is None:
        return Item("machine", "clock", "note", "the kernel does not tell")
    if not state.is_synchronised:
        advice = "run chrony (or another NTP client): event times are those of this clock"
        return Item("machine", "clock", "finding", "not synchronised by anybody", advice)
    value = (
        f"synchronised, off by {state.estimated_error * 1e3:.1f} ms or less than {state.maximum_error:.3f} s"
    )
    if state.maximum_error > WIDE_ERROR_SECONDS:
        return Item("machine", "clock", "note", value, "chronyc tracking says more")
    return Item("machine", "clock", "ok", value)


def _source(source: str | None) -> Item:
    if source is None:
        return Item("machine", "clock source", "note", "not known")
    if source in SLOW_CLOCKS:
        advice = "reading it takes a microsecond and more: see what else available_clocksource offers"
        return Item("machine", "clock source", "finding", source, advice)
    return Item("machine", "clock source", "ok", source)


def _shared_memory(place: Path) -> Item:
    try:
        space = disk_space(place)
    except OSError as error:
        return Item(
            "machine", str(place), "note", f"not there: {error.strerror}", "readers look at the files instead"
        )
    value = f"{size(space.free_bytes)} free of {size(space.total_bytes)}"
    if space.free_bytes < SMALL_SHARED_MEMORY or not os.access(place, os.W_OK):
        return Item(
            "machine", str(place), "note", value, "small or not writable: readers look at the files instead"
        )
    return Item("machine", str(place), "ok", value)


def _limits() -> list[Item]:
    files, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = files != resource.RLIM_INFINITY and files < FEW_FILES
    advice = f"ulimit -n {FEW_FILES}, or LimitNOFILE= of systemd: each segment is an open file" if few else ""
    items = [
        Item(
            "machine",
            "open files",
            "finding" if few else "ok",
            f"{_limit(files)} (at most {_limit(most_files)})",
            advice,
        )
    ]
    for name, which in (("file size", resource.RLIMIT_FSIZE), ("address space", resource.RLIMIT_AS)):
        soft, _ = resource.getrlimit(which)
        is_free = soft == resource.RLIM_INFINITY
        advice = "" if is_free else "lift it: segments are large files that are mapped into memory"
        items.append(
            Item("machine", f"limit of {name}", "ok" if is_free else "finding", _limit(soft), advice)
        )
    return items


def _limit(number: int) -> str:
    return "none" if number == resource.RLIM_INFINITY else count(number)


# Versions


def packages() -> list[Item]:
    """Python, this package and its engine, what they depend on, and the extras that are there."""
    advice = "it was built without optimisation: install a release build" if _core.DEBUG_BUILD else ""
    kind = "debug build" if _core.DEBUG_BUILD else "release build"
    items = [
        Item(
            "versions",
            "python",
            "ok",
            f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}",
        ),
        Item(
            "versions",
            "aresbus",
            "finding" if _core.DEBUG_BUILD else "ok",
            f"{_core.__version__}, log format {_core.FORMAT_VERSION}, {kind}",
            advice,
        ),
    ]
    items += [Item("versions", name, "ok", _version(name) or "not installed") for name in ("orjson", "numpy")]
    for name, extra in EXTRAS.items():
        version = _version(name)
        advice = "" if version else f"pip install aresbus[{extra}], if you want it"
        items.append(Item("versions", name, "ok" if version else "note", version or "not installed", advice))
    return items


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
