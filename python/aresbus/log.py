"""The native door: a log that is opened, closed and recovered on record, and closed at exit if nobody did.

Owns :func:`open` and the audited :class:`Log`. What a log does is the engine's. Invariants: without its audit
entry a log is not opened for writing; closing always releases the lock, recorded or not; a child after fork
never touches its parent's logs; nothing here keeps a log alive.
"""

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import Any, Literal, Self

from aresbus import (
    _core,
    events as _,  # noqa: F401 - hands the engine what the events of a log are made of
)
from aresbus._core import Durability, ManualClock
from aresbus._typing import override
from aresbus.anchoring import Anchoring, AnchorReport, AnchorTo
from aresbus.audit import AuditTrail
from aresbus.backups import BackupReport, back_up
from aresbus.errors import ConfigError, CorruptionError, LogClosedError, LogLockedError, StorageError
from aresbus.evidence import InclusionProof, TreeHead
from aresbus.reader_trails import close_abandoned, reader_trail
from aresbus.retaining import RetainingLog

__all__ = ["Log", "open"]

logger: logging.Logger = logging.getLogger(__name__)


class Log(RetainingLog):
    """A durable log of events: one directory, one order. The engine's Log, its opening and closing on record.

    ``path=None`` keeps everything in anonymous memory. mode "rw" is the one writer and recovers what a crash
    left (:attr:`recovery`); mode "r" writes nothing. Every method may be called from any thread. What is
    durable on return, and what is raised, stands at each method.
    """

    durability: Durability
    """What an append of this log waits for unless it says otherwise."""
    _trail: AuditTrail | None
    _anchoring: Anchoring | None
    _records_as_reader: bool
    _forces_filesystem: bool
    _closing: threading.Lock

    def __new__(
        cls,
        path: str | os.PathLike[str] | None,
        *,
        mode: Literal["rw", "r"] = "rw",
        recover: Literal["strict", "accept_loss"] = "strict",
        durability: Durability = "interval",
        sync_interval_ms: int = 10,
        segment_bytes: int = 67_108_864,
        memory_bytes: int = 268_435_456,
        non_finite: Literal["null", "error"] = "null",
        sealing: Literal["zstd", "lz4", "none", "off"] = "zstd",
        clock: ManualClock | None = None,
        force_filesystem: bool = False,
        audit: bool = True,
        reason: str = "",
        anchor_to: AnchorTo | None = None,
    ) -> Self:
        """Open the log; ``audit=False`` keeps no record of it, ``reason`` is recorded, ``anchor_to`` takes its heads.

        Else as the engine's Log.
        """
        if anchor_to is not None:
            _check_anchors(anchor_to, path, mode)
        options: dict[str, Any] = {
            "mode": mode,
            "recover": recover,
            "durability": durability,
            "sync_interval_ms": sync_interval_ms,
            "segment_bytes": segment_bytes,
            "memory_bytes": memory_bytes,
            "non_finite": non_finite,
            "sealing": sealing,
            "clock": clock,
            "force_filesystem": force_filesystem,
        }
        if path is None or mode != "rw" or not audit:
            self = super().__new__(cls, path, **options)
            self._trail = None
        else:
            _check(path, options)
            trail = _trail_of(os.fspath(path), reason, force_filesystem=force_filesystem)
            try:
                with trail.act("log.open", _plain_options(options, anchor_to), reason=reason) as result:
                    with _accepted_loss(trail, path, options, reason) as loss:
                        self = super().__new__(cls, path, **options)
                        loss.update(self.recovery["loss"] or {})
                    result.update(log_id=self.log_id, epoch=self.epoch, last_seq=self.last_seq)
                if not self.recovery["clean"] and not self.recovery["created"]:
                    trail.note("log.recovery", {"report": self.recovery})
            except BaseException:
                trail.close()
                raise
            self._trail = trail
        self.durability = durability
        self._records_as_reader = path is not None and mode == "r" and audit
        self._forces_filesystem = force_filesystem
        self._closing = threading.Lock()
        self._anchoring = None if anchor_to is None else Anchoring(anchor_to)
        self._time_ns = time.time_ns if clock is None else clock.time_ns
        _open_logs.add(self)
        if self._anchoring is not None:
            self._anchoring.begin(self)
        return self

    @property
    def audit_trail(self) -> AuditTrail | None:
        """Where acts on this log are recorded; None for a reader, a log in memory, and ``audit=False``."""
        return self._trail

    @override
    def act(
        self, name: str, details: Mapping[str, Any] | None = None, *, reason: str = ""
    ) -> AbstractContextManager[dict[str, Any]]:
        """Record an administrative act on this log around a ``with`` block; the dict it gives takes the result.

        A writer's act goes to :attr:`audit_trail`, a reader's to its process's own trail, made at its first act; a log
        in memory and one opened with ``audit=False`` record nothing. Intent and outcome are durable before the block
        begins and when it has ended. ``details`` and the result have to fit JSON. ``reason``: by default that of the
        surrounding :func:`aresbus.actor`, else, for a writer, that of the opening.

        Raises, before the block runs, what kept the intent from being stored: StorageError and its kin, EncodeError,
        LogClosedError. A failing block is recorded with its error, which goes on.
        """
        if self.is_closed:
            raise LogClosedError(f"{self.path or 'the log in memory'} is closed", path=self.path)
        trail = self._trail
        if self._records_as_reader:
            trail = reader_trail(self, force_filesystem=self._forces_filesystem)
        return nullcontext({}) if trail is None else trail.act(name, details, reason=reason)

    def head(self) -> TreeHead:
        """The head of the tree over all events that are durable now: a few bytes that vouch for them, docs/evidence.md.

        Hashes what became durable since the last call of this handle, GIL released; the first call what is not sealed yet, over
        half a million events a second: sealed segments bring their hashes. For everything committed call :meth:`sync` first. Raises TruncatedError where a log in
        memory let events go before they were hashed, CorruptionError, StorageError, LogClosedError.
        """
        return TreeHead(*self._head())

    def prove(self, seq: int, head: TreeHead | None = None) -> InclusionProof:
        """Proof that the event at ``seq`` is among those that ``head`` speaks of; without one, those of :meth:`head`.

        Raises ValueError where the event is not among them or not durable, TruncatedError where it is no longer kept,
        CorruptionError where this is not the log of that head any more, and what :meth:`head` raises.
        """
        found = self._prove(seq, None if head is None else head.tree_size)
        if found is None:
            what = "the head speaks of no such event" if head is not None else "there is no durable event"
            raise ValueError(f"{what} at {seq}, or the log is shorter than it was")
        record, texts, path, fields = found
        made = TreeHead(*fields)
        if head is not None and (made.log_id, made.root) != (head.log_id, head.root):
            place = self.path or "the log in memory"
            reason = (
                "it does not hold the events that the head speaks of; aresbus verify --against says where"
            )
            raise CorruptionError(f"{place}: {reason}", path=self.path, offset=0, reason=reason)
        return InclusionProof(seq, record, tuple(texts), tuple(path), made)

    @property
    def anchors(self) -> AnchorReport | None:
        """What became of the anchors of ``anchor_to``; None without it."""
        return None if self._anchoring is None else self._anchoring.report

    def backup(self, target: str | os.PathLike[str], *, verify: bool = True) -> BackupReport:
        """Take a backup into ``target``: a new folder, or one that holds an earlier backup of this log.

        Everything that is durable now, and what belongs to it: subscriptions, snapshots, schemas, audit trails. In the
        writer's process all that is committed is made durable first; a reader takes what the newest stored watermark
        covers. The writer goes on meanwhile. Files that never change are taken by hard link where both folders are on one
        file system, else copied; those that an earlier backup holds are kept. Without ``verify`` nothing is read again;
        with it every sum is compared and the log in the backup verified before it counts. It counts once its manifest is in
        place: a crash before that leaves the earlier backup, or none.

        Recorded as the act ``log.backup``. Durable on return. Blocks, for as long as it takes to read the log; any thread.
        Raises BackupError where ``target`` is something else, CorruptionError for damage, DiskFullError, StorageError,
        LogClosedError.
        """
        with self.act("log.backup", {"target": os.fspath(target)}) as result:
            report = back_up(self, target, verify=verify)
            result.update(last_seq=report.last_seq, files=report.files, bytes=report.bytes)
        return report

    @override
    def close(self) -> None:
        """Sync, leave the clean mark, release lock and threads. Idempotent; any thread.

        Raises LogPoisonedError, or the error that kept the closing from being recorded; the lock is released in
        either case. A log that is dropped instead is closed without a record.
        """
        if self.is_closed:  # also the answer in a forked child, whose lock below may be held for ever
            return
        with self._closing:
            self._close_once()

    def _close_once(self) -> None:
        if self.is_closed:
            return
        _open_logs.discard(self)
        if self._anchoring is not None:
            self._anchoring.end(self)
        if self._trail is None:
            super().close()
            return
        try:
            with self._trail.act("log.close", {"last_seq": self.last_seq}):
                super().close()
        finally:
            try:
                super().close()  # where the intent could not be stored the body never ran
            finally:
                self._trail.close()

    @override
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the log."""
        self.close()


def open(  # noqa: A001 - aresbus.open is the name of the contract
    path: str | os.PathLike[str],
    *,
    mode: Literal["rw", "r"] = "rw",
    recover: Literal["strict", "accept_loss"] = "strict",
    durability: Durability = "interval",
    sync_interval_ms: int = 10,
    segment_bytes: int = 67_108_864,
    non_finite: Literal["null", "error"] = "null",
    sealing: Literal["zstd", "lz4", "none", "off"] = "zstd",
    clock: ManualClock | None = None,
    force_filesystem: bool = False,
    audit: bool = True,
    reason: str = "",
    anchor_to: AnchorTo | None = None,
) -> Log:
    """Open the log in the directory ``path``, created if it is not there; use it as a context manager.

    ``durability`` is what an append waits for unless it says otherwise: nothing ("none"), nothing but a sync
    within ``sync_interval_ms`` ("interval"), a shared sync ("group"), a sync at once ("always").
    ``segment_bytes``: largest size of a segment file. ``non_finite``: NaN and infinities are stored as null and
    flagged, or refused. ``sealing``: how full segments are compressed in the background, "none": kept in blocks without
    compression, "off": left as they were appended. ``recover="accept_loss"`` opens a damaged log all the same: it ends at
    the damage from now on, what lies behind goes to path/quarantine, ``recovery["loss"]`` and the act
    ``log.accept_loss`` say what that was; an undamaged log is opened as ever. ``audit``: the opening and closing are
    recorded, with ``reason``, in path/audit.
    ``anchor_to``: where :meth:`Log.head` goes every so often.

    Raises what :class:`Log` raises: LogLockedError while another handle writes, CorruptionError,
    FormatVersionError, DiskFullError, StorageError, ConfigError; in mode "r" FileNotFoundError.
    """
    return Log(
        path,
        mode=mode,
        recover=recover,
        durability=durability,
        sync_interval_ms=sync_interval_ms,
        segment_bytes=segment_bytes,
        non_finite=non_finite,
        sealing=sealing,
        clock=clock,
        force_filesystem=force_filesystem,
        audit=audit,
        reason=reason,
        anchor_to=anchor_to,
    )


@contextmanager
def _accepted_loss(
    trail: AuditTrail, path: str | os.PathLike[str], options: dict[str, Any], reason: str
) -> Iterator[dict[str, Any]]:
    """Record what is about to be given up before it is, and what was; nothing where nothing is lost."""
    loss = _core.assess_loss(path) if options["recover"] == "accept_loss" else None
    if loss is None:
        yield {}
        return
    with trail.act("log.accept_loss", {**loss}, reason=reason) as result:
        yield result


def _check(path: str | os.PathLike[str], options: dict[str, Any]) -> None:
    """Refuse what the engine would refuse, before the trail makes the first folder. Raises ConfigError, TypeError."""
    if not os.fspath(path):
        _core.Log(path, **options)
    # The engine checks its options at each opening; in memory one leaves nothing behind.
    _core.Log(None, **options).close()


def _trail_of(path: str, reason: str, *, force_filesystem: bool) -> AuditTrail:
    try:
        trail = AuditTrail(path, reason=reason, force_filesystem=force_filesystem)
    except LogLockedError as locked:
        # Whoever writes the log holds its trail too, and it is the log that the caller asked for.
        holder = "an unknown process" if locked.pid is None else f"process {locked.pid}"
        raise LogLockedError(
            f"{path} is open for writing in {holder}",
            path=path,
            pid=locked.pid,
            host=locked.host,
            started=locked.started,
        ) from None
    close_abandoned(path, force_filesystem=force_filesystem)
    return trail


def _check_anchors(anchor_to: Any, path: str | os.PathLike[str] | None, mode: str) -> None:
    """Raises ConfigError."""
    problem = None
    if not isinstance(anchor_to, AnchorTo):
        problem = f"anchor_to: got {anchor_to!r}, takes an AnchorTo"
    elif mode != "rw":
        problem = "anchor_to: the writer of a log stores its anchors; this handle only reads"
    if problem is not None:
        raise ConfigError(problem, problems=[problem])
    if path is not None:
        anchor_to.refuse_inside(path)


def _plain_options(options: dict[str, Any], anchor_to: AnchorTo | None) -> dict[str, Any]:
    anchors = {} if anchor_to is None else {"anchor_to": anchor_to.to_dict()}
    return {**options, "clock": "system" if options["clock"] is None else "manual", **anchors}


_open_logs: "weakref.WeakSet[Log]" = weakref.WeakSet()


def _close_at_exit() -> None:
    for log in list(_open_logs):
        try:
            log.close()
        except StorageError as error:
            logger.error("closing %s at exit: %s", log.path, error)  # noqa: TRY400 - no trace at exit


atexit.register(_close_at_exit)
os.register_at_fork(after_in_child=_core._forget_after_fork)  # noqa: SLF001 - made for this line
