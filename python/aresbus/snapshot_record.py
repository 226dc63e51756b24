"""The stored form of a snapshot: JSON that says what it is a snapshot of, and can be checked before it is believed.

Owns that form, its digest, its anchor (the event at the snapshot's position), and the search for a usable one. Knows
neither reducers nor policy. Invariants: a snapshot is written only once its event is durable; one that is unreadable,
altered, or whose event is no longer the one at that position is never used. Snapshots are caches: losing one costs time,
not truth.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from aresbus._core import Event, Log
from aresbus.errors import EncodeError
from aresbus.events import DEFAULT_VERSION, EventSnapshot
from aresbus.places import Anchor, event_at, stands

__all__ = ["KEPT", "Search", "StoredSnapshot", "is_anchored", "newest_usable", "read", "write"]

KEPT = 2
"""Snapshots kept of an aggregate unless a policy says otherwise: where the newest is damaged, the one before it serves."""
FORMAT = 1
DIGEST_BYTES = 16
STATE, METRICS, GIVEN, AGGREGATE = "state", "metrics", "given", "aggregate"
"""Kinds: folded by reducers, the bus's own figures, given through ``save_snapshot``, of an :class:`Aggregate`."""


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """A snapshot with what is needed to trust it."""

    snapshot: EventSnapshot
    kind: str = GIVEN
    aggregate_version: int | None = None
    schema_version: str = DEFAULT_VERSION
    reducers: dict[str, int] = field(default_factory=dict)
    """Event type to reducer version; the state is worthless to other reducers."""
    schemas: dict[str, str] = field(default_factory=dict)
    """Event type to the schema version its events were brought to before they were folded."""
    anchor: Anchor | None = None
    """The event that it is of; None: a user's snapshot of a place where the log has none."""

    def encode(self) -> bytes:
        """As bytes, with the digest over all else. Raises EncodeError for a state without JSON form."""
        body = self._body()
        try:
            return orjson.dumps({**body, "digest": _digest(body)})
        except TypeError as error:
            raise EncodeError(f"the state has no JSON form: {error}", value_path="$.state") from error

    def _body(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "kind": self.kind,
            "snapshot": self.snapshot.to_dict(),
            "aggregate_version": self.aggregate_version,
            "schema_version": self.schema_version,
            "reducers": self.reducers,
            "schemas": self.schemas,
            "event_id": None if self.anchor is None else self.anchor.event_id,
            "epoch": None if self.anchor is None else self.anchor.epoch,
        }

    @classmethod
    def decode(cls, payload: bytes) -> "StoredSnapshot":
        """The inverse of :meth:`encode`. Raises ValueError or KeyError for anything that is not intact."""
        body = orjson.loads(payload)
        if not isinstance(body, dict) or body.get("format") != FORMAT:
            raise ValueError("no snapshot of a known format")
        digest = body.pop("digest")
        try:
            is_intact = digest == _digest(body)
            snapshot = EventSnapshot.from_dict(body["snapshot"])
        except TypeError as error:
            # No mapping where one belongs, or nested deeper than is ever written.
            raise ValueError(f"no snapshot of this format: {error}") from error
        if not is_intact:
            raise ValueError("the digest does not fit the snapshot")
        event_id, epoch = body["event_id"], body["epoch"]
        return cls(
            snapshot=snapshot,
            kind=body["kind"],
            aggregate_version=body["aggregate_version"],
            schema_version=body["schema_version"],
            reducers=body["reducers"],
            schemas=body.get("schemas", {}),
            anchor=None if event_id is None else Anchor(epoch, snapshot.sequence_number, event_id),
        )


def _digest(body: dict[str, Any]) -> str:
    canonical = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(canonical, digest_size=DIGEST_BYTES).hexdigest()


class Search(NamedTuple):
    """What was found, and what was passed over for it."""

    stored: StoredSnapshot | None
    damaged: int
    """Newer ones that are unreadable or altered, or whose event is no longer the one at their place."""
    refused: int
    """Newer ones that are intact and not accepted, like those of another reducer."""


def write(log: Log, stored: StoredSnapshot, kept: int = KEPT) -> None:
    """Store the snapshot; durable on return, after the event it is of. Then all but the ``kept`` newest go.

    Blocks: off the loop only. Raises EncodeError, StorageError and its kin.
    """
    aggregate_id, seq = stored.snapshot.aggregate_id, stored.snapshot.sequence_number
    payload = stored.encode()
    last, durable = log.last_seq, log.durable_seq
    if last is not None and seq <= last and (durable is None or durable < seq):
        log.sync()
    # What a cut log left behind it would count as newer, and push out the ones that are good.
    stale = [name for at, name in log._snapshots(aggregate_id) if at > seq and _is_worthless(log, at, name)]  # noqa: SLF001
    log._drop_snapshots(stale)  # noqa: SLF001 - made for this
    log._write_snapshot(aggregate_id, seq, payload, kept)  # noqa: SLF001 - made for this


def newest_usable(
    log: Log,
    aggregate_id: str,
    *,
    accepts: Callable[[StoredSnapshot], bool] = lambda _: True,
    is_within: Callable[[int, Event | None], bool] = lambda _seq, _event: True,
) -> Search:
    """The newest snapshot that is within, intact, anchored and accepted.

    ``is_within`` is asked with the position and the event that stands there, if there is one. A snapshot that its
    user placed where the log has no event is anchored to nothing and taken as it is.
    """
    damaged = refused = 0
    for seq, name in log._snapshots(aggregate_id):  # noqa: SLF001 - made for this
        if not is_within(seq, event_at(log, seq)):
            continue
        try:
            stored = read(log, seq, name)
        except FileNotFoundError:  # the writer has a newer one since the list was made
            continue
        if stored is None or not is_anchored(log, stored):
            damaged += 1
        elif accepts(stored):
            return Search(stored, damaged, refused)
        else:
            refused += 1
    return Search(None, damaged, refused)


def read(log: Log, seq: int, file_name: str) -> StoredSnapshot | None:
    """The snapshot at a position, in its file; None where it is damaged. Raises FileNotFoundError where it is gone."""
    found = log._read_snapshot(file_name)  # noqa: SLF001 - made for this
    if found is None:
        return None
    try:
        stored = StoredSnapshot.decode(found[1])
    except (ValueError, KeyError):
        return None
    snapshot = stored.snapshot
    return stored if (snapshot.aggregate_id, snapshot.sequence_number) == (found[0], seq) else None


def is_anchored(log: Log, stored: StoredSnapshot) -> bool:
    """Whether the event that the snapshot is of still stands at its position."""
    return stored.kind == GIVEN if stored.anchor is None else stands(log, stored.anchor)


def _is_worthless(log: Log, seq: int, file_name: str) -> bool:
    stored = read(log, seq, file_name)
    return stored is None or not is_anchored(log, stored)
