"""What a durable subscription remembers: a small log of its own beside the events, one writer, named by a hash.

Owns the checkpoint, the parked deliveries with their whole events, and the retry that a restart interrupted. Knows no
handler. Invariants (R19): a checkpoint is never ahead of what is durable, and is believed only if its event still stands at
its place; a park record stands before every checkpoint that passes it, because both are in one log, whose prefix is
what survives; no text of a user's becomes a file name (R3).
"""

import hashlib
import os
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aresbus import _core
from aresbus._core import Event
from aresbus.errors import HandlerError, LogLockedError
from aresbus.places import event_at
from aresbus.subscriptions.parking import ParkedDelivery

__all__ = [
    "BEFORE_THE_FIRST",
    "Checkpoint",
    "Retry",
    "SubscriptionLog",
    "checkpoint_at",
    "checkpoint_of",
    "folders_in",
    "names_in",
]

FOLDER = "subscriptions"
SEGMENT_BYTES = 1 << 20
"""A checkpoint takes some 200 bytes, at most one a second."""
NAME_HASH_BYTES = 16
IS_ANSWERED = True
"""Each lies within the folder of a log: who opened that has answered whether its file system may be used."""
NAMED, CHECKPOINT, RETRYING = "named", "checkpoint", "retrying"
PARKED, RESOLVED, WISHED = "parked", "resolved", "wished"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a durable subscription came: every event up to this one, which is durable, was taken, parked or skipped.

    It is believed only while the event at ``seq`` is of that ``epoch`` and has that ``event_id``.
    """

    seq: int
    epoch: int
    event_id: str


BEFORE_THE_FIRST = Checkpoint(-1, 0, "")
"""The checkpoint of a subscription that began on an empty log."""


@dataclass(frozen=True, slots=True)
class Retry:
    """An event that failed: how often it was tried, why, and when it is due again (real time, ns)."""

    seq: int
    event_id: str
    attempts: int
    error: str
    due_ns: int


class SubscriptionLog:
    """The memory of one durable subscription. Used by one subscription of one process at a time."""

    def __init__(self, log: _core.Log, name: str, *, mode: Literal["rw", "r"] = "rw") -> None:
        """Open or create the memory of ``name`` beside ``log``, which has to be on disk. Blocks for the disk.

        mode "r" looks at it, also while another process uses it; FileNotFoundError where there is none.

        Raises LogLockedError while another bus, here or in another process, uses the name, and what opening a log
        raises.
        """
        self.checkpoint: Checkpoint | None = None
        """Everything up to this event was taken, parked or skipped."""
        self.retry: Retry | None = None
        """The retry that was waiting when the last process ended."""
        self._parked: dict[int, tuple[int, str | None]] = {}
        """Position in the log to position here, and the key."""
        self._held: Counter[str] = Counter()
        self._wished: set[int] = set()
        self._events = log
        try:
            self._log = _core.Log(
                folder_of(log.path or "", name),
                mode=mode,
                segment_bytes=SEGMENT_BYTES,
                force_filesystem=IS_ANSWERED,
            )
        except LogLockedError as locked:
            fields = {field: getattr(locked, field) for field in locked.FIELDS}
            raise LogLockedError(f"the subscription {name!r} is in use; {locked.message}", **fields) from None
        try:
            if self._log.last_seq is None and mode == "rw":
                self._log.append(NAMED, {"name": name})
            self._recall()
        except BaseException:
            self._log.close()
            raise

    def close(self) -> None:
        """Sync and close. Idempotent."""
        self._log.close()

    @property
    def passed(self) -> Checkpoint | None:
        """The checkpoint, where it is of an event."""
        return None if self.checkpoint == BEFORE_THE_FIRST else self.checkpoint

    def look_in(self, log: _core.Log) -> None:
        """Look for events in ``log`` from now on: the same one, opened again."""
        self._events = log

    def advance(self, checkpoint: Checkpoint) -> None:
        """Remember that everything up to ``checkpoint``, which is durable, was taken or parked. Does not wait for the disk."""
        if self.checkpoint != checkpoint:
            self._append(CHECKPOINT, _fields(checkpoint))
            self.checkpoint = checkpoint

    def note_retry(self, retry: Retry) -> None:
        """Remember that the event is due again. Does not wait for the disk."""
        self._append(RETRYING, {name: getattr(retry, name) for name in Retry.__slots__})

    def sync(self) -> None:
        """Make durable what was remembered so far. Blocks for the disk."""
        self._log.sync()

    # Parking

    def park(self, delivery: ParkedDelivery) -> int:
        """Set the delivery aside with its whole event; on the disk before any later checkpoint. 0: nothing is dropped."""
        event, key = delivery.event, None if delivery.key is None else str(delivery.key)
        seq = delivery.error.seq or 0  # of a lost event that was kept here the event itself knows none
        record = {
            "seq": seq,
            "epoch": event.epoch,
            "key": key,
            "attempts": delivery.attempts,
            "queued": delivery.is_queued,
            "error": delivery.error.message,
            "handler": delivery.error.handler,
            "event": event.stored.to_dict(),
        }
        own = self._append(PARKED, record)
        self._forget(seq)
        self._enter(seq, own, key)
        return 0

    def deliveries(self) -> list[ParkedDelivery]:
        """All parked deliveries, in the order of the log; an event that is no longer there as it was stored here."""
        return [self._delivery(self._at(own).data) for _, (own, _) in sorted(self._parked.items())]

    def resolve(self, seq: int, how: str) -> None:
        """The delivery is parked no more: "redelivered" or "dropped"."""
        if seq in self._parked:
            self._append(RESOLVED, {"seq": seq, "how": how})
            self._forget(seq)

    def wish(self, seq: int) -> None:
        """Let the next process that uses the name try the delivery again."""
        if seq in self._parked:
            self._append(WISHED, {"seq": seq})
            self._wished.add(seq)

    def wished(self) -> list[ParkedDelivery]:
        """The deliveries that somebody wants tried again, in the order of the log."""
        return [one for one in self.deliveries() if one.error.seq in self._wished]

    def has(self, seq: int) -> bool:
        """Whether the event at ``seq`` is parked."""
        return seq in self._parked

    def holds(self, key: Hashable) -> bool:
        """Whether an event of the key is parked."""
        return key is not None and str(key) in self._held

    def __len__(self) -> int:
        return len(self._parked)

    # The records

    def _recall(self) -> None:
        for record in self._log.read(types=CHECKPOINT, direction="backward", limit=1):
            data = record.data
            self.checkpoint = Checkpoint(data["seq"], data["epoch"], data["event_id"])
        for record in self._log.read(types=(PARKED, RESOLVED, WISHED)):
            data = record.data
            if record.event_type == WISHED:
                self._wished.add(data["seq"])
                continue
            self._forget(data["seq"])
            if record.event_type == PARKED:
                self._enter(data["seq"], record.seq or 0, data["key"])
        for record in self._log.read(types=RETRYING, direction="backward", limit=1):
            self.retry = Retry(**record.data)

    def _enter(self, seq: int, own: int, key: str | None) -> None:
        self._parked[seq] = own, key
        if key is not None:
            self._held[key] += 1

    def _forget(self, seq: int) -> None:
        self._wished.discard(seq)
        _, key = self._parked.pop(seq, (0, None))
        if key is not None:
            self._held -= Counter([key])

    def _append(self, kind: str, data: dict[str, Any]) -> int:
        return self._log.append(kind, data).seq

    def _at(self, own: int) -> Event:
        return next(self._log.read(after=own - 1 if own else None, up_to=own))

    def _delivery(self, data: dict[str, Any]) -> ParkedDelivery:
        kept = Event.from_dict(data["event"])
        seq, event_id = data["seq"], kept.event_id
        stored = event_at(self._events, seq)
        is_same = stored is not None and (stored.event_id, stored.epoch) == (event_id, data["epoch"])
        error = HandlerError(data["error"], handler=data["handler"], seq=seq, event_id=event_id)
        event = stored if stored is not None and is_same else kept
        return ParkedDelivery(event, data["attempts"], error, data["key"], is_queued=data["queued"])


def folder_of(log_path: str, name: str) -> str:
    """Where the memory of the subscription ``name`` is."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=NAME_HASH_BYTES)
    return os.path.join(log_path, FOLDER, digest.hexdigest())  # noqa: PTH118 - a path may be any text the OS takes


def folders_in(log_path: str | os.PathLike[str]) -> list[Path]:
    """Where the memories of all durable subscriptions of a log are."""
    folder = Path(log_path) / FOLDER
    return sorted(folder.iterdir()) if folder.is_dir() else []


def names_in(log_path: str) -> Iterator[str]:
    """The names of all durable subscriptions of a log. Raises what opening their logs for reading raises."""
    for folder in folders_in(log_path):
        with _core.Log(folder, mode="r", force_filesystem=IS_ANSWERED) as own:
            for record in own.read(types=NAMED, limit=1):
                yield record.data["name"]


def checkpoint_at(log: _core.Log, seq: int) -> Checkpoint | None:
    """The event at ``seq`` as a checkpoint; None where the log has none there."""
    event = event_at(log, seq)
    return None if event is None else checkpoint_of(event)


def checkpoint_of(event: Event) -> Checkpoint:
    """The event, which is stored, as a checkpoint."""
    return Checkpoint(event.seq or 0, event.epoch or 0, event.event_id)


def _fields(checkpoint: Checkpoint) -> dict[str, Any]:
    return {"seq": checkpoint.seq, "epoch": checkpoint.epoch, "event_id": checkpoint.event_id}
