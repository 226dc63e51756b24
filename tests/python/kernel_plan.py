"""What a writing child does, operation by operation: a pure function of the seed, the child's number and the lane.

Owns the operations, the events they store, and the digests that events are compared by. Knows no process and no file.
The child carries the plan out and the supervisor holds the log against it, so that neither has to tell the other what
an event should be.
"""

import hashlib
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import orjson

KIB = 1024
SMALLEST_SEGMENT = 64 * KIB
"""Its header takes 12 KiB: it is full after some hundred events, so that a log of it rolls all the time."""
END = "end"
"""Type of the last event of a log: whoever follows it stops there."""


@dataclass(frozen=True)
class Character:
    """How one child writes, and how it dies."""

    durability: str
    segment_bytes: int
    is_audited: bool
    lanes: int
    """Threads that append."""
    is_closer: bool
    """It closes and opens its log again after every few operations."""
    delay_seconds: float
    """From its birth to the signal."""
    is_stopped_first: bool
    """SIGSTOP, a look at the log, and only then SIGKILL."""


def character(seed: int, child: int) -> Character:
    rng = random.Random(f"{seed}/{child}")
    # Opening takes a few milliseconds: half of the kills come that early.
    delay_ms = rng.uniform(0, 6) if rng.random() < 0.5 else rng.uniform(0, 30)
    is_closer = rng.random() < 0.25
    return Character(
        durability=rng.choice(["none", "interval", "group", "always"]),
        segment_bytes=rng.choice([SMALLEST_SEGMENT, SMALLEST_SEGMENT, 2 * SMALLEST_SEGMENT, 1024 * KIB]),
        is_audited=rng.random() < 0.1,
        lanes=1 if is_closer else rng.choice([1, 1, 2, 3]),
        is_closer=is_closer,
        delay_seconds=delay_ms / 1000,
        is_stopped_first=rng.random() < 0.25,
    )


@dataclass(frozen=True)
class Draft:
    """An event as it is to be stored."""

    event_type: str
    data: Any
    aggregate_id: str | None = None
    event_id: str | None = None
    correlation_id: str | None = None
    tags: dict[str, str] = field(default_factory=dict)

    def raw(self) -> bytes:
        return self.data if isinstance(self.data, bytes) else orjson.dumps(self.data)

    def keywords(self) -> dict[str, Any]:
        """What append takes beside type and data."""
        names = ("aggregate_id", "event_id", "correlation_id", "tags")
        return {name: value for name in names if (value := getattr(self, name))}


@dataclass(frozen=True)
class Operation:
    """One call of a lane, which is acknowledged when it returns."""

    kind: str
    """single, bytes, batch, expected, conflict, torn-batch, sync or reopen; a conflict stores nothing."""
    drafts: tuple[Draft, ...] = ()
    durability: str | None = None

    @property
    def stored(self) -> tuple[Draft, ...]:
        return () if self.kind in {"conflict", "torn-batch"} else self.drafts


KINDS = {
    "single": 60,
    "bytes": 8,
    "batch": 14,
    "expected": 10,
    "conflict": 2,
    "torn-batch": 2,
    "sync": 2,
}


def operations(seed: int, child: int, lane: int, *, is_closer: bool) -> Iterator[Operation]:
    """Without end."""
    rng = random.Random(f"{seed}/{child}/{lane}")
    numbers = count()
    for at in count(1):
        if is_closer and at % 3 == 0:
            yield Operation("reopen")
        (kind,) = rng.choices(list(KINDS), weights=list(KINDS.values()))
        if kind == "sync":
            yield Operation(kind)
            continue
        if kind in {"batch", "torn-batch"}:
            # A batch that takes long to write is one that a kill meets in the middle.
            is_long = rng.random() < 0.5
            size = rng.randint(100, 150) if is_long else rng.randint(1, 12)
            drafts = tuple(_draft(rng, lane, next(numbers), is_short=is_long) for _ in range(size))
        elif kind in {"expected", "conflict"}:
            drafts = (Draft("decided", next(numbers), aggregate_id=_own_aggregate(rng, lane)),)
        elif kind == "bytes":
            drafts = (Draft("frame", rng.randbytes(rng.randint(0, 300))),)
        else:
            drafts = (_draft(rng, lane, next(numbers)),)
        durability = rng.choice(["none", "interval", "group", "always"]) if rng.random() < 0.05 else None
        yield Operation(kind, drafts, durability)


def _own_aggregate(rng: random.Random, lane: int) -> str:
    """One that no other lane appends to, so that its version can be expected."""
    return f"own-{lane}-{rng.randrange(4)}"


def _draft(rng: random.Random, lane: int, number: int, *, is_short: bool = False) -> Draft:
    ids = [None, None, None, str(uuid.UUID(int=rng.getrandbits(128))), f"id {rng.getrandbits(64)}"]
    bytes_more = rng.choice([0, 10, 100, 400]) if rng.random() < 0.98 else rng.randint(3000, 20_000)
    bytes_more = 0 if is_short else bytes_more
    return Draft(
        rng.choice(["trade", "quote", "order_filled"]),
        {"number": number, "price": rng.random() * 1e5, "text": "ä" * (bytes_more // 2)},
        aggregate_id=rng.choice([None, _own_aggregate(rng, lane), f"shared {rng.randrange(6)}"]),
        event_id=rng.choice(ids),
        correlation_id=rng.choice([None, f"cause {number}"]),
        tags=rng.choice([{}, {"venue": "x", "lane": str(lane)}]),
    )


def source_of(child: int, lane: int) -> str:
    """Every event says by its source whose it is."""
    return f"{child}.{lane}"


def digest_of_event(event) -> bytes:
    """Of all that is stored of an event."""
    # The parts are told apart by repr, which quotes them.
    parts = (
        event.seq,
        str(event.event_type),
        event.raw,
        event.event_id,
        event.aggregate_id,
        event.aggregate_version,
        event.aggregate_prev,
        event.source,
        event.correlation_id,
        event.tags,
        event.ts_ns,
        event.epoch,
    )
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()


def digest_of_receipts(receipts) -> bytes:
    """Of receipts, or of the events that they are for."""
    parts = [(one.seq, one.event_id, one.aggregate_version) for one in receipts]
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()
