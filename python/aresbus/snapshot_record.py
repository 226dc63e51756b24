"""The stored form of a snapshot: JSON that says what it is a snapshot of, and can be checked before it is believed.

Owns that form, its digest, and its anchor: the event at the snapshot's position. Knows neither reducers nor
policy. Invariants: a snapshot is written only once its event is durable; one that is unreadable, altered, or whose
event is no longer the one at that position is never used. Snapshots are caches: losing one costs time, not truth.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from aresbus._core import Event, Log
from aresbus.errors import EncodeError
from aresbus.events import DEFAULT_VERSION, EventSnapshot
from aresbus.places import event_at

__all__ = ["StoredSnapshot", "newest_usable", "write"]

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
    event_id: str | None = None
    epoch: int | None = None

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
            "event_id": self.event_id,
            "epoch": self.epoch,
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
        return cls(
            snapshot=snapshot,
            kind=body["kind"],
            aggregate_version=body["aggregate_version"],
            schema_version=body["schema_version"],
            reducers=body["reducers"],
            schemas=body.get("schemas", {}),
            event_id=body["event_id"],
            epoch=body["epoch"],
        )


def _digest(body: dict[str, Any]) -> str:
    canonical = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(canonical, digest_size=DIGEST_BYTES).hexdigest()


def write(log: Log, stored: StoredSnapshot) -> None:
    """Store the snapshot; durable on return, after the event it is of. Blocks: off the loop only."""
    seq = stored.snapshot.sequence_number
    last, durable = log.last_seq, log.durable_seq
    if last is not None and seq <= last and (durable is None or durable < seq):
        log.sync()
    log._write_snapshot(stored.snapshot.aggregate_id, seq, stored.encode())  # noqa: SLF001 - made for this


def newest_usable(
    log: Log,
    aggregate_id: str,
    *,
    accepts: Callable[[StoredSnapshot], bool] = lambda _: True,
    is_within: Callable[[int, Event | None], bool] = lambda _seq, _event: True,
) -> tuple[StoredSnapshot | None, int]:
    """The newest snapshot that is within, intact, anchored and accepted; how many newer ones within were not.

    ``is_within`` is asked with the position and the event that stands there, if there is one. A snapshot that its
    user placed where the log has no event is anchored to nothing and taken as it is.
    """
    ignored = 0
    for seq, payload in log._read_snapshots(aggregate_id):  # noqa: SLF001 - made for this
        event = event_at(log, seq)
        if not is_within(seq, event):
            continue
        stored = _decoded(payload)
        is_of_it = stored is not None and stored.snapshot.aggregate_id == aggregate_id
        if stored is not None and is_of_it and _is_anchored(stored, event) and accepts(stored):
            return stored, ignored
        ignored += 1
    return None, ignored


def _decoded(payload: bytes | None) -> StoredSnapshot | None:
    if payload is None:
        return None
    try:
        return StoredSnapshot.decode(payload)
    except (ValueError, KeyError):
        return None


def _is_anchored(stored: StoredSnapshot, event: Event | None) -> bool:
    if stored.event_id is None:
        return stored.kind == GIVEN
    return event is not None and event.event_id == stored.event_id and event.epoch == stored.epoch
