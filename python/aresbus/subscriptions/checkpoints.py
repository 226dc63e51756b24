"""What a durable subscription remembers: a small log of its own beside the events, one writer, named by a hash.

Owns the checkpoint, the parked deliveries with their whole events, and the retry that a restart interrupted. Knows no
handler. Invariants (R19): a checkpoint is never ahead of what is durable, and is believed only if its event still stands at
its place; a park record stands before every checkpoint that passes it, because both are in one log, whose prefix is
what survives; no text of a user's becomes a file name (R3); what goes from the front, so that the log stays small, stands
behind it once more.
"""

import hashlib
import os
import threading
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from aresbus import _core
from aresbus._core import Event
from aresbus.checkpoint_record import CHECKPOINT, FOLDER, NAMED, folders_in
from aresbus.errors import HandlerError, LimitError, LogLockedError, TruncatedError
from aresbus.places import Anchor, anchor_of, event_at
from aresbus.subscriptions.parking import ParkedDelivery

__all__ = ["BEFORE_THE_FIRST", "Retry", "SubscriptionLog", "folders_in", "names_in"]

SEGMENT_BYTES = 1 << 20
"""A checkpoint takes some 200 bytes, at most one a second."""
SHRINK_SEGMENTS = 4
"""A memory of fewer segments is left as it is."""
SHRINK_EVERY = 10_000
"""Checkpoints between two looks at the size: about three hours of a busy subscription."""
NAME_HASH_BYTES = 16
IS_ANSWERED = True
"""Each lies within the folder of a log: who opened that has answered whether its file system may be used."""
RETRYING = "retrying"
PARKED, RESOLVED, WISHED = "parked", "resolved", "wished"


BEFORE_THE_FIRST = Anchor(0, -1, "")
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
        self.checkpoint: Anchor | None = None
        """Everything up to this event was taken, parked or skipped."""
        self.retry: Retry | None = None
        """The retry that was waiting when the last process ended."""
        self._parked: dict[Anchor, tuple[int, str | None]] = {}
        """Place in the log to position here, and the key."""
        self._held: dict[str, dict[Anchor, None]] = {}
        """Of each key what is parked."""
        self._wished: set[Anchor] = set()
        self._noted: dict[str, Any] | None = None
        """The newest record of a retry."""
        self._speaking = threading.RLock()
        """Held by who says something new, on the loop, and who says something again, in a thread; not while one of them waits
        for the disk, unless a record needs larger segments."""
        self._events = log
        self._name, self._mode = name, mode
        self._until_shrink = SHRINK_EVERY
        self._log = self._opened(SEGMENT_BYTES)
        try:
            if self._log.last_seq is None and mode == "rw":
                self._log.append(NAMED, {"name": name})
            while not self._recall():
                pass
            if mode == "rw":
                self.shrink()
        except BaseException:
            self._log.close()
            raise

    def _opened(self, segment_bytes: int) -> _core.Log:
        try:
            return _core.Log(
                folder_of(self._events.path or "", self._name),
                mode=self._mode,
                segment_bytes=segment_bytes,
                force_filesystem=IS_ANSWERED,
            )
        except LogLockedError as locked:
            fields = {field: getattr(locked, field) for field in locked.FIELDS}
            raise LogLockedError(
                f"the subscription {self._name!r} is in use; {locked.message}", **fields
            ) from None

    def close(self) -> None:
        """Sync and close. Idempotent."""
        self._log.close()

    @property
    def passed(self) -> Anchor | None:
        """The checkpoint, where it is of an event."""
        return None if self.checkpoint == BEFORE_THE_FIRST else self.checkpoint

    def look_in(self, log: _core.Log) -> None:
        """Look for events in ``log`` from now on: the same one, opened again."""
        self._events = log

    def advance(self, anchor: Anchor) -> None:
        """Remember that everything up to ``anchor``, which is durable, was taken or parked.

        Waits for the disk only when it lets go what nobody asks for any more, once in ``SHRINK_EVERY``.
        """
        if self.checkpoint != anchor:
            self._append(CHECKPOINT, anchor._asdict())
            self.checkpoint = anchor
            self._until_shrink -= 1
            if self._until_shrink <= 0:
                self._until_shrink = SHRINK_EVERY
                self.shrink()

    def note_retry(self, retry: Retry) -> None:
        """Remember that the event is due again. Does not wait for the disk."""
        record = {name: getattr(retry, name) for name in Retry.__slots__}
        with self._speaking:
            self._noted = {**record, "error": _storable(retry.error)}
            self._append(RETRYING, self._noted)

    def sync(self) -> None:
        """Make durable what was remembered so far. Blocks for the disk."""
        self._log.sync()

    def shrink(self) -> None:
        """Let go from the front what nobody asks for any more: passed checkpoints, resolved deliveries. Blocks for the disk.

        What counts is said once more first, so that it stands behind what goes, and is synced with it before that goes. Left
        as it is where most of it still counts: saying it again would cost more than it gives.
        """
        stats = self._log.stats()
        record_count = (stats["last_seq"] or 0) + 1 - stats["first_seq"]
        if len(stats["segments"]) < SHRINK_SEGMENTS or 2 * len(self._parked) > record_count:
            return
        first = self._append(NAMED, {"name": self._name})
        if self.checkpoint is not None:
            self._append(CHECKPOINT, self.checkpoint._asdict())
        with self._speaking:
            if self._noted is not None:
                self._append(RETRYING, self._noted)
        for place, (own, _) in list(self._parked.items()):
            if own < first:
                self._say_again(place, own)
        while self._log._retain(first)["segments"]:  # noqa: SLF001 - a log of its own, without holds
            pass

    def _say_again(self, place: Anchor, own: int) -> None:
        """Let the park record at ``own`` stand behind all others, if it still counts."""
        record = event_at(self._log, own)
        with self._speaking:
            at, key = self._parked.get(place, (None, None))
            if record is not None and at == own:
                said = {**record.data, "wished": place in self._wished}
                self._parked[place] = self._append(PARKED, said), key

    # Parking

    def park(self, delivery: ParkedDelivery) -> int:
        """Set the delivery aside with its whole event; on the disk before any later checkpoint. 0: nothing is dropped."""
        place, key = delivery.place, None if delivery.key is None else _storable(delivery.key)
        record = {
            **place._asdict(),
            "key": key,
            "attempts": delivery.attempts,
            "queued": delivery.is_queued,
            "error": _storable(delivery.error.message),
            "handler": delivery.error.handler,
            "event": delivery.event.stored.to_dict(),
        }
        with self._speaking:
            own = self._append(PARKED, record)
            self._forget(place)
            self._enter(place, own, key)
        return 0

    def deliveries(self, seq: int | None = None) -> list[ParkedDelivery]:
        """All, or those of ``seq``, in the order of the log; an event that is no longer there as it was stored here."""
        return self._deliveries(place for place in self._parked if seq in (None, place.seq))

    def places(self) -> list[Anchor]:
        """The events whose deliveries are parked, in the order of the log."""
        return sorted(self._parked)

    def resolve(self, place: Anchor, how: str) -> None:
        """The delivery is parked no more: "redelivered" or "dropped"."""
        with self._speaking:
            if place in self._parked:
                self._append(RESOLVED, {**place._asdict(), "how": how})
                self._forget(place)

    def wish(self, place: Anchor) -> None:
        """Let the next process that uses the name try the delivery again."""
        with self._speaking:
            if place in self._parked:
                self._append(WISHED, place._asdict())
                self._wished.add(place)

    def wished(self) -> list[ParkedDelivery]:
        """The deliveries that somebody wants tried again, in the order of the log."""
        return self._deliveries(self._wished)

    def has(self, place: Anchor) -> bool:
        """Whether that event is parked."""
        return place in self._parked

    def holds(self, key: Hashable, place: Anchor) -> bool:
        """Whether an event of the key that was appended before ``place`` is parked.

        After a kill events come again that were taken before that one was tried: those queue behind nothing.
        """
        if key is None:
            return False
        return any(parked < place for parked in self._held.get(_storable(key), ()))

    def __len__(self) -> int:
        return len(self._parked)

    # The records

    def _recall(self) -> bool:
        """Read all that counts; whether it was all: its writer may let records go meanwhile, which stand further behind then."""
        self._parked, self._held, self._wished = {}, {}, set()
        try:
            for record in self._log.read(types=(PARKED, RESOLVED, WISHED)):
                self._take_in(record)
            for record in self._log.read(types=CHECKPOINT, direction="backward", limit=1):
                self.checkpoint = Anchor(**record.data)
            for record in self._log.read(types=RETRYING, direction="backward", limit=1):
                self._noted = record.data
                self.retry = Retry(**record.data)
        except TruncatedError:
            return False
        return True

    def _take_in(self, record: Event) -> None:
        place = _place_in(record)
        if record.event_type == WISHED:
            self._wished.add(place)
            return
        self._forget(place)
        if record.event_type == PARKED:
            self._enter(place, record.seq or 0, record.data["key"])
            if record.data.get("wished"):
                self._wished.add(place)

    def _enter(self, place: Anchor, own: int, key: str | None) -> None:
        self._parked[place] = own, key
        if key is not None:
            self._held.setdefault(key, {})[place] = None

    def _forget(self, place: Anchor) -> None:
        self._wished.discard(place)
        _, key = self._parked.pop(place, (0, None))
        if key is not None:
            del self._held[key][place]
            if not self._held[key]:
                del self._held[key]

    def _append(self, kind: str, data: dict[str, Any]) -> int:
        with self._speaking:
            try:
                return self._log.append(kind, data).seq
            except LimitError as error:
                # An event may be as large as the segments of its log, which are larger than those here. That blocks for the disk.
                self._log.close()
                try:
                    self._log = self._opened(2 * (error.got or 0))
                except BaseException:
                    self._log = self._opened(SEGMENT_BYTES)
                    raise
                return self._log.append(kind, data).seq

    def _deliveries(self, places: Iterable[Anchor]) -> list[ParkedDelivery]:
        """Those parked at ``places``. One pass from the first of them on: many are parked together, or few at all."""
        places = list(places)
        while True:
            wanted = {self._parked[place][0]: place for place in places if place in self._parked}
            if not wanted:
                return []
            first, last = min(wanted), max(wanted)
            records = self._log.read(after=first - 1 if first else None, up_to=last, types=PARKED)
            try:
                found = {wanted[record.seq]: record.data for record in records if record.seq in wanted}
            except TruncatedError:  # they were said again meanwhile; a reader does not know where
                while self._mode == "r" and not self._recall():
                    pass
            else:
                return [self._delivery(place, found[place]) for place in sorted(found)]

    def _delivery(self, place: Anchor, data: dict[str, Any]) -> ParkedDelivery:
        event = event_at(self._events, place.seq)
        if event is None or anchor_of(event) != place:
            event = Event.from_dict(data["event"])
        error = HandlerError(data["error"], handler=data["handler"], seq=place.seq, event_id=place.event_id)
        return ParkedDelivery(event, data["attempts"], error, place, data["key"], is_queued=data["queued"])


def _place_in(record: Event) -> Anchor:
    """The event that a record speaks of."""
    return Anchor(record.data["epoch"], record.data["seq"], record.data["event_id"])


def _storable(value: object) -> str:
    """The value's text, with whatever UTF-8 cannot express as escapes."""
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def folder_of(log_path: str, name: str) -> str:
    """Where the memory of the subscription ``name`` is."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=NAME_HASH_BYTES)
    return os.path.join(log_path, FOLDER, digest.hexdigest())  # noqa: PTH118 - a path may be any text the OS takes


def names_in(log_path: str) -> Iterator[str]:
    """The names of all durable subscriptions of a log. Raises what opening their logs for reading raises."""
    for folder in folders_in(log_path):
        try:
            own = _core.Log(folder, mode="r", force_filesystem=IS_ANSWERED)
        except FileNotFoundError:  # only being made, or no memory of ours
            continue
        with own:
            for record in own.read(types=NAMED, limit=1, on_message=lambda _lost: None):
                yield record.data["name"]
