"""The compiled engine: log, events, receipts. This file is its documentation.

Threads: every method may be called from any thread. Whatever can touch the disk runs without the GIL. Memory: every
``bytes``, event and receipt owns its own copy; nothing points into a mapping. Durability on return is stated per
method; where nothing is said, the call writes nothing. Any call on a closed handle raises LogClosedError.
"""

from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import Field
from os import PathLike
from types import TracebackType
from typing import Any, ClassVar, Literal, Self, TypeAlias, final

from typing_extensions import disjoint_base, override

from aresbus.evidence import TreeHead
from aresbus.places import Lost
from aresbus.reports import (
    Excerpt,
    LogStats,
    Loss,
    RecoveryReport,
    RepairReport,
    RetentionReport,
    Unread,
    VerifyResult,
)

Durability: TypeAlias = Literal["none", "interval", "group", "always"]
"""When an append returns: committed (``none``, ``interval``) or durable (``group``, ``always``)."""

__version__: str
"""Version of the package, from Cargo.toml."""
DEBUG_BUILD: bool
"""Built without optimisation: benchmarks refuse to measure it."""
FORMAT_VERSION: int
"""Version of the on-disk format this build writes and reads (docs/format.md)."""
MAX_TEXT_BYTES: int
"""Longest event type, source or schema version: 255 bytes of UTF-8."""
MAX_ID_BYTES: int
"""Longest event, aggregate, correlation or causation id: 1,024 bytes of UTF-8."""

@final
class Expected:
    """What an append expects of its aggregate: no check (the default), no event, at least one; an ``int``: that version."""

    ANY: ClassVar[Expected]
    NONE: ClassVar[Expected]
    EXISTS: ClassVar[Expected]

@final
class Receipt:
    """What an append returns. Plain, frozen, hashable, picklable; equality by all four fields."""

    def __new__(
        cls, seq: int, event_id: str, aggregate_version: int | None, duplicate: bool = False
    ) -> Self: ...
    @property
    def seq(self) -> int:
        """Position of the event in the log, from 0, contiguous."""
    @property
    def event_id(self) -> str:
        """Canonical UUID text, or the caller's own id."""
    @property
    def aggregate_version(self) -> int | None:
        """Position of the event in its aggregate, from 0; ``None`` without aggregate."""
    @property
    def duplicate(self) -> bool:
        """The event was in the log before, under the id that was given: nothing was appended, and this is its receipt."""

@final
class Published(Coroutine[Any, Any, str]):
    """The outcome of a publish that has nothing to wait for; awaiting gives the event's id. Awaited once, as any coroutine."""

    def __new__(cls, event: Event) -> Self: ...
    @override
    def __await__(self) -> Generator[Any, Any, str]: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> None: ...
    @override
    def send(self, value: Any, /) -> None: ...
    @override
    def throw(self, kind: Any, value: Any = None, trace: Any = None, /) -> Any: ...
    @override
    def close(self) -> None: ...

@disjoint_base
class Event:
    """One event: made by a user, published live, or read from a log. Behaves as a dataclass.

    Equality by its three fields, which may be assigned; not hashable; picklable; copyable; subclasses and weak references work.
    """

    __match_args__ = ("event_type", "data", "metadata")
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    """Put there by :mod:`aresbus.events`, so that fields, asdict and replace work."""
    __hash__: ClassVar[None]  # type: ignore[assignment]
    event_type: Any
    """An :class:`aresbus.EventType` member, a registered type, or the plain text of any other."""
    data: Any
    """The payload: the publisher's own object for a live event, else decoded at the first touch."""
    metadata: Any
    """:class:`aresbus.EventMetadata`, made at the first touch; the same object ever after."""
    def __new__(cls, event_type: Any, data: Any, metadata: Any = None) -> Self: ...
    def __copy__(self) -> Self: ...
    def to_dict(self) -> dict[str, Any]:
        """``{"event_type", "data", "metadata"}``, ready for ``json.dumps``; status and times as text."""
    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`. Raises ValueError or KeyError that name what is wrong."""
    @property
    def raw(self) -> bytes | None:
        """The stored payload bytes; ``None`` for an event that was never stored."""
    @property
    def seq(self) -> int | None:
        """Position in the log; ``None`` until stored."""
    @property
    def event_id(self) -> str: ...
    @property
    def aggregate_id(self) -> str | None: ...
    @property
    def aggregate_version(self) -> int | None:
        """Position in the aggregate, from 0; ``None`` until stored, or without aggregate."""
    @property
    def aggregate_prev(self) -> int | None:
        """``seq`` of the aggregate's previous event; ``None`` where there is none."""
    @property
    def source(self) -> str: ...
    @property
    def correlation_id(self) -> str | None: ...
    @property
    def causation_id(self) -> str | None: ...
    @property
    def schema_version(self) -> str: ...
    @property
    def tags(self) -> dict[str, str]:
        """A new dict of the stored tags; for a user-made event those of its metadata."""
    @property
    def ts_ns(self) -> int | None:
        """Real time of the append, ns since 1970 UTC; ``None`` until stored."""
    @property
    def event_time_ns(self) -> int | None:
        """The time the event speaks of, ns since 1970 UTC, where its publisher gave one."""
    @property
    def encoding(self) -> Literal["json", "json-given", "bytes"] | None:
        """Who wrote the payload: aresbus, the caller (validated JSON), or opaque bytes."""
    @property
    def epoch(self) -> int | None:
        """The life of the log it was appended in, from 1; ``None`` until stored."""
    @property
    def lossy(self) -> bool:
        """NaN or an infinity in the data was stored as null."""
    @property
    def schema_valid(self) -> bool | None:
        """Whether the data fitted its schema at publish; ``None`` where nothing was checked."""
    @property
    def part(self) -> int | None:
        """Which of several parts of a stored event this is, from 0; ``None`` where it is the whole."""
    @property
    def stored(self) -> Event:
        """The event as it was stored; the event itself unless an upcaster made it."""
    def _presented(
        self, data: Any, schema_version: str, part: int | None, event_type: str | None = None
    ) -> Event:
        """A new event with the stored facts of this one and other data; None keeps the type. ValueError if never stored."""
    @property
    def is_replay(self) -> bool:
        """The event reached its handler through a replay."""
    def _set_replay(self) -> None: ...
    def _set_status(self, status: Any) -> None: ...
    def _status(self) -> Any: ...

@final
class EventIterator:
    """Iterator over stored events, in the order of the log or against it. Reads ahead with the GIL released."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Event: ...
    @property
    def position(self) -> int | None:
        """``seq`` up to which everything was examined, matching or not; ``None`` before the first. Backward:
        down to which; ``read(up_to=position - 1, direction="backward")`` goes on there, at 0 nothing is left.
        """
    @property
    def skipped_records(self) -> int:
        """Ignorable records of kinds this build does not know (docs/format.md), skipped so far."""

@final
class ManualClock:
    """A clock that stands still until told; for tests. Thread-safe."""

    def __new__(cls, ns: int = 0) -> Self: ...
    def time_ns(self) -> int: ...
    def set_ns(self, ns: int) -> None: ...
    def advance_ns(self, ns: int) -> None: ...

@disjoint_base
class Histogram:
    """Latencies in log-linear buckets, eight for each power of two, up to now by ``clock`` or the real one. Any thread."""

    def __new__(cls, clock: ManualClock | None = None) -> Self: ...
    def record(self, ns: int) -> None:
        """Count one latency; a negative one (a clock that stepped) counts as 0. OverflowError beyond 64 bits."""
    def record_since(self, event: Event) -> None:
        """Count the time from the event's append to now; of an event that was never stored nothing."""
    @property
    def total_ns(self) -> int: ...
    @property
    def max_ns(self) -> int: ...
    def buckets(self) -> list[tuple[int, int]]:
        """Upper end in ns, inclusive, and count of each bucket that counted something, ascending."""

@disjoint_base
class Tally:
    """The two counts of a bus that change with every event. Any thread."""

    events_published: int
    """Events appended by publish."""
    events_delivered: int
    """Deliveries that a handler took."""

    def __new__(cls, *_arguments: object, **_keywords: object) -> Self:
        """All arguments belong to the class that is made of this one."""

@disjoint_base
class Turn:
    """The part of a subscription that changes with every event."""

    is_active: bool
    """False once it is unsubscribed or disconnected; no further delivery begins then."""
    current: Event | None
    """The event that is being handled; it is passed only once it was taken, parked or skipped."""
    busy_since: float | None
    """By the monotonic clock, in seconds, while its turn lasts."""
    redelivered: Event | None
    """The parked event that is tried again. It moves no cursor: its place is behind it."""
    delivered_count: int
    """Events it has taken."""

    def __new__(cls, *_arguments: object, **_keywords: object) -> Self:
        """All arguments belong to the class that is made of this one."""
    @property
    def said(self) -> Any:
        """What the subscriber said of the event that is being handled; None while nothing."""
    def open_judging(self) -> None: ...
    def end_judging(self) -> Any:
        """What was said of the event so far; from now on nothing may be. Idempotent."""
    def _say(self, seq: int | None, verdict: Any) -> bool:
        """Say it of the event at ``seq``; False where that is not being handled, was judged, or its time is up. Any thread."""

@disjoint_base
class Outlet:
    """The newest events of a bus, how far they were handed out, and the short way of an event inside its publish."""

    @property
    def dispatched(self) -> int:
        """Everything before this seq was handed out to subscriptions."""
    @dispatched.setter
    def dispatched(self, value: int) -> None: ...
    thread: int | None
    """Ident of the thread on whose loop the bus delivers; None while it does not."""
    has_inline: bool
    """Some callbacks run inside a publish."""
    is_on: bool
    """A publish is handing out."""
    has_more: bool
    """Events were published by callbacks while a publish was handing out."""
    entered: Turn | None
    """Whose turn began last: the suspect when the loop is held."""

    def __new__(
        cls,
        max_history: int,
        *,
        tally: Tally,
        latency: Histogram | None,
        observe: Callable[[int, Event], bool] | None,
        settled: dict[str, str],
        processed: Any,
        handled_event: ContextVar[Any],
    ) -> Self:
        """Hold at most ``max_history`` events. ``settled``: by type the schema version that needs no look; ``processed``: the
        status of an event that was taken, or that nobody wants.
        """
    @property
    def ready(self) -> dict[str, tuple[tuple[Turn, Callable[[Event], Any]], ...]]:
        """By type, everybody who wants it and their callbacks, while all of them can have the next event at once."""
    @property
    def has_unsettled(self) -> bool: ...
    def take_unsettled(self) -> list[tuple[Turn, Any, BaseException | None]]:
        """Callbacks of the short way that did more than to return: what each returned or raised. Theirs is the event in hand."""
    def hold(self, event: Event) -> None:
        """Hold a live event. Any thread."""
    def held(self, seq: int) -> Event | None:
        """The event at ``seq``, if it is held."""
    def shared(self, event: Event) -> Event:
        """The one object that stands for the event, if it is among the newest."""
    def recent(self) -> list[Event]:
        """The newest events held, oldest first."""
    def forget_from(self, seq: int) -> None:
        """Hold no event at or behind ``seq``."""

@disjoint_base
class Log:
    """A durable log of events: one directory, one order. Context manager; closing is idempotent.

    ``path=None`` keeps everything in anonymous memory: the same engine, nothing on disk, the oldest segments dropped
    beyond ``memory_bytes``; every durability mode then returns at once. ``sealing``: see :func:`aresbus.open`.
    mode "rw": the one writer. Raises LogLockedError (with the holder's pid) while another handle, in any process, has
    the log open for writing. Recovers what a crash left; see :attr:`recovery`. ``recover``: see :func:`aresbus.open`. mode "r": any number of readers; writes
    nothing, a missing log is FileNotFoundError. Raises also CorruptionError, FormatVersionError, DiskFullError,
    StorageError (also on network file systems, btrfs, zfs unless ``force_filesystem``), ConfigError.
    """

    def __new__(
        cls,
        path: str | PathLike[str] | None,
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
    ) -> Self: ...
    def append(
        self,
        event_type: str,
        data: Any,
        *,
        source: str = "",
        correlation_id: str | None = None,
        causation_id: str | None = None,
        aggregate_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        event_id: str | None = None,
        event_time_ns: int | None = None,
        schema_version: str | None = None,
        expected_version: Expected | int = ...,
        durability: Durability | None = None,
    ) -> Receipt:
        """Append one event; its data is encoded as orjson would write it.

        Committed on return (survives the death of this process); under ``group`` and ``always`` also durable. With an
        ``event_id`` that one of the newest 65,536 events has, nothing is appended: the same bytes, type and aggregate give
        the first receipt again (``duplicate``), before any version is checked; anything else raises DuplicateEventError.
        Raises EncodeError, LimitError, VersionConflictError, DiskFullError, LogPoisonedError (``committed``), LogClosedError.
        """
    def append_bytes(
        self,
        event_type: str,
        payload: bytes | bytearray | memoryview,
        *,
        encoding: Literal["bytes", "json"] = "bytes",
        source: str = "",
        correlation_id: str | None = None,
        causation_id: str | None = None,
        aggregate_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        event_id: str | None = None,
        event_time_ns: int | None = None,
        schema_version: str | None = None,
        expected_version: Expected | int = ...,
        durability: Durability | None = None,
    ) -> Receipt:
        """As :meth:`append`, the payload stored byte for byte; ``json`` is validated first."""
    def append_many(
        self,
        events: Iterable[tuple[str, Any] | Mapping[str, Any]],
        *,
        source: str = "",
        correlation_id: str | None = None,
        causation_id: str | None = None,
        aggregate_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        schema_version: str | None = None,
        expected: Mapping[str, Expected | int] | None = None,
        durability: Durability | None = None,
    ) -> list[Receipt]:
        """Append all or nothing: ``(event_type, data)`` pairs, or mappings with the keywords of append.

        The keywords here are defaults for all. ``expected``: what these aggregates, written by the batch or not, must be
        at before its first event; an event's own ``expected_version`` is held against what the events before it leave.
        VersionConflictError lists every check that fails in ``conflicts``, those of ``expected`` first; LimitError if the
        batch does not fit one segment; then nothing is written. Of an empty iterable too ``expected`` is checked.
        """
    def _publish(
        self,
        event_type: Any,
        data: Any,
        source: str,
        correlation_id: str | None,
        causation_id: str | None,
        aggregate_id: str | None,
        tags: Mapping[str, str] | None,
        event_id: str | None,
        event_time_ns: int | None,
        schema_version: str | None,
        expected_version: Expected | int,
        schema_valid: bool | None,
        speaks_for: ContextVar[Any] | None = None,
        outlet: Outlet | None = None,
        wants_event: object = True,
    ) -> Any:
        """The bus's append: commits, waits for no sync; the live event's ``data`` is that given if it is exact JSON.

        An Event, or a Receipt where it was appended before, see ``append``. ``outlet`` holds the event and hands it out
        if that can be done at once: then Published, where there is no more to do for a publisher who wants no event.
        """
    def read(
        self,
        after: int | None = None,
        up_to: int | None = None,
        since: Any = None,
        until: Any = None,
        *,
        time: Literal["append", "event"] = "append",
        limit: int | None = None,
        types: Iterable[str] | str | None = None,
        aggregate_id: str | None = None,
        correlation_id: str | None = None,
        source: str | None = None,
        tags: Mapping[str, str] | None = None,
        direction: Literal["forward", "backward"] = "forward",
        durable: bool = False,
        on_message: Callable[[Lost], object] | None = None,
    ) -> EventIterator:
        """Events committed so far that match. ``after`` is exclusive, ``up_to`` inclusive; ``since``
        inclusive, ``until`` exclusive: aware datetimes or ns since 1970 (naive datetimes: ValueError).

        ``types``: one text or several. One that ends in ``*`` stands for every type that begins with what is before it
        ("order_*"; "*" alone is every type); a type whose own name ends so is among them. ``source=""``: events that
        name none. ``tags``: all of them must be there, with these values. ``direction="backward"``: the newest event
        first, ``limit`` counts from there; ``after`` and ``up_to`` mean the same events as forward, and what is
        committed after the call is not part of it. Raises CorruptionError where damage lies below the watermark,
        TruncatedError where ``after`` or ``up_to`` lies before the oldest event still kept, or an aggregate, asked for
        without ``after`` and ``since``, has lost events; backward that comes last. With ``on_message`` nothing is raised
        then: in its place among the events it is called with the :class:`Lost` that a subscription would be told, in the
        thread that reads, and the read goes on with the oldest event kept. What it raises comes out of ``next``.
        """
    def follow(
        self,
        after: int | None = None,
        *,
        types: Iterable[str] | str | None = None,
        aggregate_id: str | None = None,
        correlation_id: str | None = None,
        source: str | None = None,
        tags: Mapping[str, str] | None = None,
        timeout: float | None = None,
        on_message: Callable[[Lost], object] | None = None,
    ) -> EventIterator:
        """As :meth:`read`, forward, but at the end waits for more, by whatever writer, ``timeout`` seconds; None: for ever."""
    def wait(self, after: int | None, timeout: float | None = None) -> bool:
        """Block, GIL released, until an event beyond ``after`` is committed (True) or time is up (False)."""
    def wait_durable(self, seq: int, timeout: float | None = None) -> bool:
        """Block, GIL released, until ``durable_seq >= seq`` (True) or time is up. Raises LogPoisonedError."""
    def sync(self) -> int | None:
        """Make everything committed so far durable; returns ``durable_seq``. Raises LogPoisonedError."""
    def aggregate_version(self, aggregate_id: str) -> int | None:
        """Version of the aggregate's newest event, or None where it has none."""
    def verify(
        self, *, against: TreeHead | Iterable[TreeHead] | None = None, since: Any = None
    ) -> VerifyResult:
        """Check checksums, positions and aggregate chains of everything stored; all findings, not the first.

        ``against``, ``since`` and what is raised: as :func:`aresbus.verify`.
        """
    def _head(self) -> tuple[str, int, int | None, int, str]:
        """The fields of the head over everything durable now."""
    def _prove(
        self, seq: int, size: int | None
    ) -> tuple[bytes, list[str], list[str], tuple[str, int, int | None, int, str]] | None:
        """The fields of the proof of the event at ``seq``, in the tree of the first ``size`` events; None where there is none."""
    def stats(self) -> LogStats: ...
    def close(self) -> None:
        """Sync, leave the clean mark, release lock and threads. Idempotent. Raises LogPoisonedError."""
    # What the layers above are given beside: each says in Rust what it does.
    def _on_commit(self, callback: Callable[[], object] | None) -> None: ...
    def _write_snapshot(self, aggregate_id: str, seq: int, payload: bytes, kept: int) -> None: ...
    def _snapshots(self, aggregate_id: str | None) -> list[tuple[int, str]]: ...
    def _read_snapshot(self, file_name: str) -> tuple[str, bytes] | None: ...
    def _drop_snapshots(self, file_names: list[str]) -> None: ...
    def _retain(self, seq: int) -> RetentionReport: ...
    def _aggregates_in(self, first: int, last: int) -> list[tuple[str, list[str], int]]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    @property
    def path(self) -> str | None: ...
    @property
    def mode(self) -> Literal["rw", "r"]: ...
    @property
    def log_id(self) -> str:
        """UUID of the log, made when it was created."""
    @property
    def first_seq(self) -> int: ...
    @property
    def last_seq(self) -> int | None:
        """Newest committed event, or None on an empty log."""
    @property
    def durable_seq(self) -> int | None:
        """Newest event that survives power loss (inclusive), or None. Never falls while the machine is up."""
    @property
    def epoch(self) -> int: ...
    @property
    def is_closed(self) -> bool: ...
    @property
    def poisoned(self) -> str | None:
        """Why appends are refused after a failed sync; None in health."""
    @property
    def recovery(self) -> RecoveryReport: ...

def verify(
    path: str | PathLike[str],
    *,
    against: TreeHead | Iterable[TreeHead] | None = None,
    since: Any = None,
    progress: Callable[[int], object] | None = None,
) -> VerifyResult:
    """Verify a log without opening it: also one that :class:`Log` refuses. FileNotFoundError if there is none.

    ``against``: heads that were kept elsewhere, also of other logs among them. What does not fit one is a finding of the kind
    "anchor", from behind the last head that fits to the first that does not. ``since``: an aware datetime or ns since 1970;
    segments that were full before it are not walked; not together with ``against``, which is ConfigError.
    ``progress(bytes)`` is called now and then, in the thread of the call.
    """

def _proof_holds(record: bytes, texts: list[str], seq: int, path: list[str], head: TreeHead) -> bool:
    """Whether a proof holds. Raises ValueError where a hash is none."""

def inherit(
    handled: Any, correlation_id: str | None, causation_id: str | None
) -> tuple[str | None, str | None]:
    """Ids of an event published under ``handled``, given ones kept: its conversation, or one that begins with it; as cause it."""

def assess_loss(path: str | PathLike[str]) -> Loss | None:
    """What ``recover="accept_loss"`` would give up; None where nothing is damaged. Reads everything, changes nothing."""

def excerpt(
    path: str | PathLike[str],
    target: str | PathLike[str],
    *,
    up_to: int | None = None,
    log: Log | None = None,
) -> Excerpt:
    """Put META and the last segment of the durable beginning of a log into ``target``; the rest are whole files.

    ``log``: the log itself, where it is open for writing here: all that is committed is made durable first.
    """

def repair(path: str | PathLike[str]) -> RepairReport:
    """Make META anew from the segments, where it does not serve."""

def digest(path: str | PathLike[str]) -> str:
    """BLAKE3 of a file, as hexadecimal text."""

def digest_bytes(content: bytes) -> str:
    """BLAKE3 of bytes, as hexadecimal text."""

@final
class Salvage:
    """Iterator over every event that still reads, file by file."""

    def __new__(cls, path: str | PathLike[str], *, quarantine: bool = False) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Event: ...
    @property
    def unread(self) -> list[Unread]:
        """What did not read so far; complete at the end."""

def install(
    *,
    event_types: dict[str, Any],
    metadata_class: type[Any],
    stored_metadata: Callable[..., Any],
    version_tag: str,
    default_version: str,
    to_dict: Callable[[Event], dict[str, Any]],
    from_dict: Callable[[type[Event], Mapping[str, Any]], Event],
    pending: Any,
) -> None:
    """Hand the engine what Python owns: the registry of types, kept by reference, what metadata is, and how dicts are made."""

def _forget_after_fork() -> None: ...
def _restore_event(cls: type[Event], facts: dict[str, Any] | None, /) -> Event: ...
