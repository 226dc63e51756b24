"""Every error of aresbus, in one tree: classes, codes, fields, and one sentence of advice each.

Owns the classes that both Python and the compiled engine raise. Knows nothing of logs or buses.
Invariants: a code is never reused; what a program may want to know is a field, never only text;
every error survives pickling with its fields.
"""

import errno as _errno
from typing import TYPE_CHECKING, Any, ClassVar

from aresbus._typing import override

if TYPE_CHECKING:
    from aresbus.reports import Conflict

__all__ = [
    "ERRORS_BY_CODE", "AresbusError", "AuditError", "BackupError", "BusStateError", "ConfigError", "CorruptionError",
    "DiskFullError", "DuplicateEventError", "EffectBlockedError", "EncodeError", "ExportError",
    "FormatVersionError", "HandlerError", "IncompatibleSchemaError", "LegacyLayoutError", "LimitError",
    "LogClosedError", "LogLockedError", "LogPoisonedError", "ProjectionError", "SchemaConflictError",
    "SchemaError", "StorageError", "TruncatedError", "UnknownEventTypeError", "UpcastError",
    "VersionConflictError",
]  # fmt: skip

ERRORS_BY_CODE: dict[str, type["AresbusError"]] = {}
"""Code to class, for ``aresbus explain`` and for log search."""


class AresbusError(Exception):
    """Base of all errors raised by aresbus.

    ``message`` says what happened, ``advice`` what to do, ``code`` is stable and searchable. The
    keywords a class takes are its ``FIELDS`` and those of its bases; each becomes an attribute.
    """

    code: ClassVar[str] = "AB0000"
    advice: ClassVar[str] = "See the fields of the error."
    FIELDS: ClassVar[dict[str, Any]] = {}
    """Field name to default value, bases' fields included."""

    message: str

    @override
    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give the class its bases' fields and enter its code."""
        super().__init_subclass__(**kwargs)
        merged: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            merged |= base.__dict__.get("FIELDS", {})
        cls.FIELDS = merged
        if "code" in cls.__dict__:
            ERRORS_BY_CODE[cls.code] = cls

    def __init__(self, message: str, **fields: Any) -> None:
        """Raise TypeError for a keyword that is no field of the class."""
        if unknown := fields.keys() - self.FIELDS.keys():
            names = ", ".join(sorted(unknown))
            raise TypeError(f"{type(self).__name__} has no field {names}")
        super().__init__(message)
        self.message = message
        for name, default in self.FIELDS.items():
            value = fields.get(name, default)
            # A list default would be shared by all instances.
            setattr(self, name, list(value) if isinstance(value, list) else value)

    @override
    def __str__(self) -> str:
        """Code, what happened and what to do, like ``[AB0006] It broke. Mend it``."""
        return f"[{self.code}] {self.message.rstrip('.')}. {self.advice}"

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by class, message and fields; whatever else hangs on the instance goes along."""
        fields = {name: getattr(self, name) for name in self.FIELDS}
        return _restore, (type(self), self.message, fields), self.__dict__.copy()


def _restore(kind: type[AresbusError], message: str, fields: dict[str, Any]) -> AresbusError:
    return kind(message, **fields)


class StorageError(AresbusError, OSError):
    """The operating system or the storage refused. Always raised, also by a lenient ``publish``.

    ``errno`` is that of the OS where there was one. ``committed`` says that the event named by
    ``seq`` and ``event_id`` stands in the log although the call failed; only its durability is
    unknown. False: the event was not stored, publish it again once the cause is gone.
    """

    code = "AB0001"
    advice = "Look at errno and path; unless committed is True, the event was not stored."
    FIELDS: ClassVar[dict[str, Any]] = {
        "path": None,
        "errno": None,
        "committed": False,
        "seq": None,
        "event_id": None,
    }
    path: str | None
    committed: bool
    seq: int | None
    event_id: str | None


class DiskFullError(StorageError):
    """No room for the next segment. The log stays readable and what was appended stays safe.

    Appends go on by themselves once there is room; a log that could not be opened for writing
    was not changed and opens once there is room.
    """

    code = "AB0002"
    advice = "Free some disk space, then repeat the call; nothing acknowledged is lost."
    FIELDS: ClassVar[dict[str, Any]] = {"errno": _errno.ENOSPC}


class LogLockedError(StorageError):
    """Another handle, in this or another process, has the log open for writing.

    ``pid``, ``host`` and ``started`` describe the holder as far as it left word; the lock itself
    is the kernel's and ends with its holder, so there is never a stale lock to remove.
    """

    code = "AB0003"
    advice = "Close the other writer first, or open this log with mode='r'."
    FIELDS: ClassVar[dict[str, Any]] = {
        "errno": _errno.EWOULDBLOCK,
        "pid": None,
        "host": None,
        "started": None,
    }
    pid: int | None
    host: str | None
    started: str | None


class LogPoisonedError(StorageError):
    """A sync to disk failed, so this handle takes no more appends; reads go on.

    After a failed sync the kernel may call lost pages clean, so the handle cannot know what is on
    the disk. Closing and opening again runs recovery, which believes only what it can prove.
    """

    code = "AB0004"
    advice = "Check the disk, then close the log and open it again: recovery decides what stands."
    FIELDS: ClassVar[dict[str, Any]] = {"errno": _errno.EIO, "reason": ""}
    reason: str


class LogClosedError(StorageError):
    """The log or bus was closed, or the handle was inherited through a fork."""

    code = "AB0005"
    advice = "Open the log again, or initialize() the bus; after a fork the child opens its own."
    FIELDS: ClassVar[dict[str, Any]] = {"errno": _errno.EBADF}


class CorruptionError(StorageError):
    """Bytes that had been made durable are damaged or missing. Nothing was changed.

    ``path`` and ``offset`` say where, ``reason`` what was found. An incomplete end after a crash
    is no corruption: it is cut, kept in quarantine/ and reported by ``Log.recovery``.
    """

    code = "AB0006"
    advice = "Restore the log from a copy; `aresbus verify` lists every finding."
    FIELDS: ClassVar[dict[str, Any]] = {"errno": _errno.EIO, "offset": None, "reason": ""}
    offset: int | None
    reason: str


class FormatVersionError(StorageError):
    """The files were written by a version of aresbus that this build cannot read, or are foreign."""

    code = "AB0007"
    advice = "Use the version of aresbus that wrote the log, or a newer one."
    FIELDS: ClassVar[dict[str, Any]] = {"found": "", "supported": ""}
    found: str
    supported: str


class EncodeError(AresbusError, TypeError, ValueError):
    """The data cannot be stored as JSON. ``value_path`` names the value, like ``$.orders[3].qty``."""

    code = "AB0008"
    advice = "Convert the value named by value_path to a type that JSON or orjson knows."
    FIELDS: ClassVar[dict[str, Any]] = {"value_path": "$"}
    value_path: str


class LimitError(AresbusError, ValueError):
    """Something is larger than the format or the configuration allows. Nothing was written."""

    code = "AB0009"
    advice = "Make it smaller, or raise the limit where it is configurable."
    FIELDS: ClassVar[dict[str, Any]] = {"what": "", "got": None, "limit": None}
    what: str
    got: int | None
    limit: int | None


class ConfigError(AresbusError, ValueError):
    """The configuration is wrong; ``problems`` lists each fault with what it got and what it takes."""

    code = "AB0010"
    advice = "Correct every entry of problems."
    FIELDS: ClassVar[dict[str, Any]] = {"problems": []}
    problems: list[str]


class VersionConflictError(AresbusError):
    """The aggregate is not at the expected version. Nothing was written.

    ``actual`` is the version it has (None: no event yet); ``conflicting_seq`` and
    ``conflicting_type`` name its newest event, so that a retry needs no second read; both are None
    where that event is of the refused batch itself. ``conflicts`` lists every check of a batch that
    failed, each with these five fields; the fields of the error are those of the first.
    """

    code = "AB0011"
    advice = "Load what happened since, decide again, and append with the actual version."
    FIELDS: ClassVar[dict[str, Any]] = {
        "aggregate_id": "",
        "expected": None,
        "actual": None,
        "conflicting_seq": None,
        "conflicting_type": None,
        "conflicts": [],
    }
    aggregate_id: str
    expected: Any
    actual: int | None
    conflicting_seq: int | None
    conflicting_type: str | None
    conflicts: "list[Conflict]"


class DuplicateEventError(AresbusError):
    """An event with this id is already in the log, and it is a different one."""

    code = "AB0012"
    advice = "Give the event an id of its own."
    FIELDS: ClassVar[dict[str, Any]] = {"event_id": "", "seq": None}
    event_id: str
    seq: int | None


class TruncatedError(AresbusError):
    """The range begins before the oldest event that is still kept."""

    code = "AB0013"
    advice = "Read from first_seq on, or rebuild from a snapshot."
    FIELDS: ClassVar[dict[str, Any]] = {"first_seq": None}
    first_seq: int | None


class SchemaError(AresbusError):
    """The data does not fit the declared schema of its event type; ``problems`` lists each fault."""

    code = "AB0014"
    advice = "Publish every required field, or register a schema that fits."
    FIELDS: ClassVar[dict[str, Any]] = {"event_type": "", "problems": []}
    event_type: str
    problems: list[str]


class UnknownEventTypeError(SchemaError):
    """The text names no event type of the bus."""

    code = "AB0015"
    advice = "Call register_event_type() with the text first."


class UpcastError(SchemaError):
    """There is no way from the event's schema version to the one asked for.

    A step is missing, or was refused when it was registered, or failed on the event at ``seq``: then ``__cause__`` is
    what it raised.
    """

    code = "AB0016"
    advice = "Register the missing step, mend the failing one, or ask for a version that can be reached."
    FIELDS: ClassVar[dict[str, Any]] = {"from_version": "", "to_version": "", "seq": None, "event_id": None}
    from_version: str
    to_version: str
    seq: int | None
    event_id: str | None


class HandlerError(AresbusError):
    """A handler failed on every try; ``__cause__`` is its last exception. The delivery is parked.

    As ``last_error`` also that a subscription stands still before an event, until its ``resume()``. In a replay there is one try and nothing is parked: the replay stops behind the event.
    """

    code = "AB0017"
    advice = "Look at the cause; the event itself is safe in the log."
    FIELDS: ClassVar[dict[str, Any]] = {"handler": "", "seq": None, "event_id": None}
    handler: str
    seq: int | None
    event_id: str | None


class BusStateError(AresbusError, RuntimeError):
    """The call does not fit the state of the bus: a second run(), or one on another event loop."""

    code = "AB0018"
    advice = "Stop the bus first, and use it on one event loop."


class SchemaConflictError(SchemaError):
    """The event type has a different schema in this version already. Nothing was registered.

    ``path`` names the file of the log that records the other one; None where it is registered in this process.
    """

    code = "AB0019"
    advice = "Give the changed schema a version of its own; what is stored stays described by the old one."
    FIELDS: ClassVar[dict[str, Any]] = {"version": "", "path": None}
    version: str
    path: str | None


class IncompatibleSchemaError(SchemaError):
    """The new schema breaks its compatibility rule; ``problems`` names each breaking field. Nothing was registered.

    ``against`` lists the versions it breaks with, nearest first.
    """

    code = "AB0020"
    advice = "Mend every entry of problems, or register an upcaster to this version first."
    FIELDS: ClassVar[dict[str, Any]] = {"version": "", "compatibility": "", "against": []}
    version: str
    compatibility: str
    against: list[str]


class ProjectionError(AresbusError):
    """A projection cannot go on: a handler raised, or its store belongs to another projection or log.

    ``__cause__`` is what the handler raised, ``seq`` and ``event_id`` name the event. The transaction was undone.
    """

    code = "AB0022"
    advice = "Look at the cause; update() tries the same event again, reset() begins anew."
    FIELDS: ClassVar[dict[str, Any]] = {"projection": "", "seq": None, "event_id": None}
    projection: str
    seq: int | None
    event_id: str | None


class EffectBlockedError(AresbusError):
    """A replay came to a call with side effects that it does not allow; the call was not made.

    ``sink`` names what was to act, ``seq`` and ``event_id`` the event that was being handled.
    """

    code = "AB0023"
    advice = "Allow the sink by name, Replay(..., allow=[name]), if the replay is to act on the world."
    FIELDS: ClassVar[dict[str, Any]] = {"sink": "", "seq": None, "event_id": None}
    sink: str
    seq: int | None
    event_id: str | None


class AuditError(AresbusError):
    """An entry in an audit trail is no record of an act. ``path`` names the trail, ``seq`` the entry."""

    code = "AB0024"
    advice = "Look at the entry with `aresbus read`: something other than aresbus wrote into the trail."
    FIELDS: ClassVar[dict[str, Any]] = {"path": "", "seq": None}
    path: str
    seq: int | None


class LegacyLayoutError(AresbusError, ValueError):
    """The folder holds no older event store. Nothing was imported."""

    code = "AB0026"
    advice = "Name the folder that holds events/events_YYYY-MM-DD.jsonl."
    FIELDS: ClassVar[dict[str, Any]] = {"path": None}
    path: str | None


class ExportError(AresbusError, ValueError):
    """The export cannot go where it was told to go. Nothing was written."""

    code = "AB0027"
    advice = "Name a folder that is not there yet, or is empty, outside the log."
    FIELDS: ClassVar[dict[str, Any]] = {"path": None}
    path: str | None


class BackupError(AresbusError, ValueError):
    """A backup cannot be made there, or cannot give what is asked of it. No log was changed."""

    code = "AB0029"
    advice = "A backup goes into a folder that is new or holds an earlier one of the same log; a restored log into a new one."
    FIELDS: ClassVar[dict[str, Any]] = {"path": None}
    path: str | None
