"""What an event means: its type, its metadata, its status, its dict form, and snapshots of state.

Owns the registry of event types and the shape of metadata, and hands both to the compiled engine,
which owns :class:`Event` itself. Knows no log and no bus. Invariants: one text has one type object
for the life of the process; times are aware and in UTC; ``to_dict`` gives what the log would give
back, and ``from_dict`` inverts it.
"""

import base64
import dataclasses
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

import orjson

from aresbus import _core
from aresbus._core import Event
from aresbus._typing import override
from aresbus.errors import EncodeError, LimitError

__all__ = [
    "Event",
    "EventMetadata",
    "EventSnapshot",
    "EventStatus",
    "EventType",
    "RegisteredEventType",
    "event_type_of",
    "register_event_type",
]

DEFAULT_VERSION = "1.0.0"
"""Version of metadata, schemas and snapshots until someone says otherwise."""
VERSION_TAG = "aresbus:metadata_version"
"""Reserved tag that carries ``metadata.version`` through the log where it is not the default."""
BYTES_KEY = "$base64"
"""Sole key of the dict that stands for an opaque payload in ``to_dict``, which has to fit JSON."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NS_PER_US = 1_000


class EventType(StrEnum):
    """The built-in event types. A member is its text: ``EventType.TRADE_EXECUTED == "trade_executed"``."""

    MARKET_DATA_RECEIVED = "market_data_received"
    ANALYSIS_COMPLETED = "analysis_completed"
    STRATEGY_FORMULATED = "strategy_formulated"
    TRADE_DECISION_MADE = "trade_decision_made"
    TRADE_EXECUTED = "trade_executed"
    RISK_ALERT = "risk_alert"
    PERFORMANCE_UPDATE = "performance_update"
    MODEL_UPDATED = "model_updated"
    SYSTEM_ERROR = "system_error"
    COMPONENT_STARTED = "component_started"
    COMPONENT_STOPPED = "component_stopped"
    SYSTEM_HEALTH_CHECK = "system_health_check"
    CONFIGURATION_CHANGED = "configuration_changed"
    SNAPSHOT_CREATED = "snapshot_created"


class EventStatus(StrEnum):
    """How far the bus came with an event. A view of this process; never stored."""

    PENDING = "pending"
    PROCESSING = "processing"
    PROCESSED = "processed"
    FAILED = "failed"
    RETRYING = "retrying"


class RegisteredEventType(str):
    """A user's event type, made by :func:`register_event_type`: its text, with value and name."""

    __slots__ = ()

    @property
    def value(self) -> str:
        """The text itself, as of an enum member."""
        return str(self)

    @property
    def name(self) -> str:
        """The text in upper case, as of an enum member."""
        return self.upper()

    @override
    def __repr__(self) -> str:
        """Like ``<EventType order_filled>``."""
        return f"<EventType {self}>"

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        """Unpickled, also in another process, the type is registered there."""
        return register_event_type, (str.__str__(self),)

    def __copy__(self) -> Self:
        """Copies are the same object, as of an enum member."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Copies are the same object, as of an enum member."""
        return self


_event_types: dict[str, EventType | RegisteredEventType] = {str(member): member for member in EventType}


def register_event_type(text: str) -> EventType | RegisteredEventType:
    """Make ``text`` an event type that a bus accepts; usable wherever an :class:`EventType` is.

    Registering a text again, or that of a built-in type, gives the object that already stands for
    it. Thread-safe. Raises TypeError for anything but text, LimitError unless it has 1 to 255
    bytes of UTF-8.
    """
    if not isinstance(text, str):
        raise TypeError(f"an event type is text, not {type(text).__name__}")
    size = len(text.encode())
    if not 1 <= size <= _core.MAX_TEXT_BYTES:
        raise LimitError(
            f"an event type has 1 to {_core.MAX_TEXT_BYTES} bytes of UTF-8, this one {size}",
            what="event type",
            got=size,
            limit=_core.MAX_TEXT_BYTES,
        )
    # setdefault is one step under the GIL: two threads get the same object.
    return _event_types.setdefault(str(text), RegisteredEventType(text))


def event_type_of(text: str) -> EventType | RegisteredEventType | None:
    """The type object that stands for ``text``, or None where nobody registered it."""
    return _event_types.get(text)


def new_event_id() -> str:
    """A fresh random UUID as text."""
    return str(uuid.uuid4())


def utc_now() -> datetime:
    """The wall clock, aware, in UTC."""
    return datetime.now(UTC)


def datetime_of_ns(ns: int) -> datetime:
    """The time of ``ns`` since 1970, to the microsecond that datetime can hold."""
    return EPOCH + timedelta(microseconds=ns // NS_PER_US)


def ns_of_datetime(value: datetime) -> int:
    """Nanoseconds since 1970 of an aware datetime, exactly. Raises ValueError for a naive one."""
    if value.tzinfo is None:
        raise ValueError(f"naive datetime {value.isoformat()}: its zone is unknown; use an aware one")
    return (value - EPOCH) // timedelta(microseconds=1) * NS_PER_US


@dataclass
class EventMetadata:
    """What is known about an event besides its data. Mutable; changes are never stored.

    ``sequence_number`` is the event's position in the log, 0 until stored. ``status`` and
    ``retry_count`` are the bus's view in this process. ``timestamp`` is the time the event speaks
    of, where its publisher gave one, else that of the append.
    """

    event_id: str = field(default_factory=new_event_id)
    version: str = DEFAULT_VERSION
    schema_version: str = DEFAULT_VERSION
    timestamp: datetime = field(default_factory=utc_now)
    source: str = ""
    correlation_id: str | None = None
    causation_id: str | None = None
    aggregate_id: str | None = None
    sequence_number: int = 0
    retry_count: int = 0
    status: EventStatus = EventStatus.PENDING
    tags: dict[str, str] = field(default_factory=dict)


def _stored_metadata(  # noqa: PLR0917 - the engine calls it, by position
    event_id: str,
    version: str,
    schema_version: str,
    timestamp: datetime,
    source: str,
    correlation_id: str | None,
    causation_id: str | None,
    aggregate_id: str | None,
    sequence_number: int,
    status: EventStatus,
    tags: dict[str, str],
) -> EventMetadata:
    """Metadata of a stored event: what the constructor would make, in half the time."""
    made = object.__new__(EventMetadata)
    made.event_id = event_id
    made.version = version
    made.schema_version = schema_version
    made.timestamp = timestamp
    made.source = source
    made.correlation_id = correlation_id
    made.causation_id = causation_id
    made.aggregate_id = aggregate_id
    made.sequence_number = sequence_number
    made.retry_count = 0
    made.status = status
    made.tags = tags
    return made


@dataclass
class EventSnapshot:
    """The state of one aggregate after the event at ``sequence_number``."""

    snapshot_id: str = field(default_factory=new_event_id)
    timestamp: datetime = field(default_factory=utc_now)
    aggregate_id: str = ""
    sequence_number: int = 0
    state_data: dict[str, Any] = field(default_factory=dict)
    version: str = DEFAULT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON. Raises EncodeError where the state is not."""
        return {
            "snapshot_id": self.snapshot_id,
            "timestamp": self.timestamp.isoformat(),
            "aggregate_id": self.aggregate_id,
            "sequence_number": self.sequence_number,
            "state_data": plain_json(self.state_data),
            "version": self.version,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`. Raises KeyError or ValueError that name what is wrong."""
        state = value["state_data"]
        if not isinstance(state, Mapping):
            raise ValueError(f"state_data is a mapping, not {type(state).__name__}")  # noqa: TRY004 - one kind
        return cls(
            snapshot_id=_checked("snapshot_id", value["snapshot_id"], str),
            timestamp=_parse_time(value["timestamp"]),
            aggregate_id=_checked("aggregate_id", value["aggregate_id"], str),
            sequence_number=_checked("sequence_number", value["sequence_number"], int),
            state_data=dict(state),
            version=_checked("version", value.get("version", DEFAULT_VERSION), str),
        )


def plain_json(value: Any) -> Any:
    """A copy of ``value`` as the log would give it back. Raises EncodeError."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {BYTES_KEY: base64.b64encode(value).decode()}
    try:
        return orjson.loads(orjson.dumps(value, default=_decimal_text, option=orjson.OPT_SERIALIZE_NUMPY))
    except TypeError as error:
        raise EncodeError(f"the data has no JSON form: {error}") from error


def _decimal_text(value: Any) -> str:
    # By name: the decimal module costs 2 ms of start-up for those who never use it.
    if type(value).__name__ == "Decimal" and type(value).__module__ == "decimal":
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON serializable")


def _event_to_dict(event: Event) -> dict[str, Any]:
    metadata: EventMetadata = event.metadata
    named = {one.name: getattr(metadata, one.name) for one in dataclasses.fields(metadata)}
    named["timestamp"] = metadata.timestamp.isoformat()
    named["status"] = str(metadata.status)
    named["tags"] = dict(metadata.tags)
    return {"event_type": str(event.event_type), "data": plain_json(event.data), "metadata": named}


def _event_from_dict(kind: type[Event], value: Mapping[str, Any]) -> Event:
    text = _checked("event_type", value["event_type"], str)
    data = value["data"]
    if isinstance(data, Mapping) and len(data) == 1 and isinstance(data.get(BYTES_KEY), str):
        data = base64.b64decode(data[BYTES_KEY], validate=True)
    return kind(event_type_of(text) or text, data, _metadata_from_dict(value.get("metadata") or {}))


_METADATA_TYPES: dict[str, tuple[type, ...]] = {
    "event_id": (str,),
    "version": (str,),
    "schema_version": (str,),
    "timestamp": (str, datetime),
    "source": (str,),
    "correlation_id": (str, type(None)),
    "causation_id": (str, type(None)),
    "aggregate_id": (str, type(None)),
    "sequence_number": (int,),
    "retry_count": (int,),
    "status": (str,),
    "tags": (dict,),
}


def _metadata_from_dict(value: Mapping[str, Any]) -> EventMetadata:
    if not isinstance(value, Mapping):
        raise ValueError(f"metadata is a mapping, not {type(value).__name__}")  # noqa: TRY004 - one kind
    if unknown := value.keys() - _METADATA_TYPES.keys():
        raise ValueError(f"metadata has no field {', '.join(sorted(map(str, unknown)))}")
    given = {name: _checked(name, one, *_METADATA_TYPES[name]) for name, one in value.items()}
    if "timestamp" in given:
        given["timestamp"] = _parse_time(given["timestamp"])
    if "status" in given:
        given["status"] = EventStatus(given["status"])
    if "tags" in given:
        given["tags"] = dict(given["tags"])
    return EventMetadata(**given)


def _checked(name: str, value: Any, *kinds: type) -> Any:
    if isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds):
        return value
    wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
    raise ValueError(f"{name} is {wanted}, not {type(value).__name__}")


def _parse_time(value: Any) -> datetime:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise ValueError(f"timestamp is a time in ISO 8601, not {type(value).__name__}")  # noqa: TRY004
    if value.tzinfo is None:
        raise ValueError(f"timestamp {value.isoformat()} is naive: its zone is unknown")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"timestamp {value.isoformat()} lies beyond the calendar in UTC") from error


@dataclass
class _EventShape:
    """The fields of Event, for everything in Python that treats it as a dataclass."""

    event_type: Any
    data: Any
    metadata: Any = field(default_factory=EventMetadata)


Event.__dataclass_fields__ = _EventShape.__dataclass_fields__
_core.install(
    event_types=_event_types,
    metadata_class=EventMetadata,
    stored_metadata=_stored_metadata,
    version_tag=VERSION_TAG,
    default_version=DEFAULT_VERSION,
    to_dict=_event_to_dict,
    from_dict=_event_from_dict,
    pending=EventStatus.PENDING,
)
