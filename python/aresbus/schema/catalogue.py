"""What a log records of the schemas of its events: one file per type and version in ``schemas/``.

Owns those files: their form, their names, how they are written and believed. Knows nothing of events. Invariants: a
recorded schema never changes; a file is whole or not there; its name holds no user's text; a damaged file is an error,
never passed over. Only the log's writer writes here.
"""

import hashlib
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Any

import orjson

from aresbus import durable_files
from aresbus._core import __version__
from aresbus.clock import Clock
from aresbus.errors import (
    CorruptionError,
    DiskFullError,
    FormatVersionError,
    SchemaConflictError,
    StorageError,
)
from aresbus.log import Log
from aresbus.schema.declared import Schema
from aresbus.schema.normal_form import canonical
from aresbus.schema.registry import Registry
from aresbus.schema.versions import version_order

__all__ = ["Catalogue", "RecordedSchema", "recorder_of"]

FOLDER, ENDING, ASIDE = "schemas", ".schema", ".tmp"
MAGIC, FORMAT = "aresbus-schema", "1"
DIGEST_BYTES = 16
MOST_BYTES = 16 * 1024 * 1024
"""Larger than any schema; a file that is larger is none of ours and is not read into memory."""


@dataclass(frozen=True, slots=True)
class RecordedSchema:
    """A schema as the log records it."""

    event_type: str
    version: str
    schema: Schema
    recorded_at_ns: int
    """When, in ns since 1970 UTC."""
    package_version: str
    """The version of aresbus that recorded it."""
    path: str
    """The file."""

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "event_type": self.event_type,
            "version": self.version,
            "origin": self.schema.origin,
            "recorded_at_ns": self.recorded_at_ns,
            "package_version": self.package_version,
            "path": self.path,
            "document": self.schema.document,
        }


class Catalogue:
    """The recorded schemas of an open log. A log in memory records none. Blocks for the disk: off the loop only."""

    def __init__(self, log: Log, clock: Clock | None = None) -> None:
        """``clock`` says when something was recorded; by default the real one. Nothing is read or written yet."""
        self._log, self._clock = log, clock or Clock()
        self._folder = None if log.path is None else Path(log.path) / FOLDER

    def load(self) -> list[RecordedSchema]:
        """Every recorded schema, by type, then from the oldest version to the newest.

        Raises CorruptionError for a damaged file or one of another log, FormatVersionError for one of a newer aresbus,
        StorageError where the folder cannot be read.
        """
        found = [self._read(path) for path in self._paths()]
        return sorted(found, key=lambda one: (one.event_type, version_order(one.version), one.version))

    def record(self, registry: Registry) -> list[RecordedSchema]:
        """Record what is declared and not yet recorded, and return that; durable on return. The writer's alone.

        An act of the audit log where there is something to record. Raises SchemaConflictError where the log has a
        different schema of the same type and version, before anything is written; what ``load`` raises; DiskFullError;
        StorageError, also for a log that is open for reading.
        """
        return self._record(list(_declared(registry)))

    def record_one(self, event_type: str, version: str, schema: Schema) -> list[RecordedSchema]:
        """As ``record``, of one schema."""
        return self._record([(event_type, version, schema)])

    def _record(self, declared: list[tuple[str, str, Schema]]) -> list[RecordedSchema]:
        folder = self._folder
        if folder is None:
            return []
        if self._log.mode != "rw":
            raise StorageError(f"{self._log.path} is open for reading only", path=self._log.path)
        fresh = self._unrecorded(declared)
        if not fresh:
            return []
        described = [_described(one) for one in fresh]
        with self._act({"schemas": described}), _storage_errors(folder):
            self._make_folder(folder)
            for one in fresh:
                _write(Path(one.path), self._encoded(one))
            durable_files.sync_folder(folder)
        return fresh

    def _unrecorded(self, declared: list[tuple[str, str, Schema]]) -> list[RecordedSchema]:
        recorded = {(one.event_type, one.version): one for one in self.load()}
        fresh = []
        for text, version, schema in declared:
            known = recorded.get((text, version))
            if known is None:
                path = str(self._path(text, version))
                now = self._clock.time_ns()
                fresh.append(RecordedSchema(text, version, schema, now, __version__, path))
            elif known.schema != schema:
                raise SchemaConflictError(
                    f"the log records a different schema of {text} {version}",
                    event_type=text,
                    version=version,
                    problems=[f"recorded is {known.schema!r}, registered {schema!r}"],
                    path=known.path,
                )
        return fresh

    def _act(self, details: Mapping[str, Any]) -> AbstractContextManager[Any]:
        trail = self._log.audit_trail
        return nullcontext() if trail is None else trail.act("schema.register", details)

    # Files

    def _paths(self) -> list[Path]:
        folder = self._folder
        if folder is None:
            return []
        with _storage_errors(folder):
            try:
                return sorted(path for path in folder.iterdir() if path.name.endswith(ENDING))
            except FileNotFoundError:
                return []

    def _path(self, text: str, version: str) -> Path:
        folder = self._folder or Path()
        key = orjson.dumps([text, version])
        return folder / f"{hashlib.blake2b(key, digest_size=DIGEST_BYTES).hexdigest()}{ENDING}"

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            folder.mkdir(mode=0o700)
            durable_files.sync_folder(folder.parent)

    def _encoded(self, one: RecordedSchema) -> bytes:
        body = orjson.dumps({key: value for key, value in one.to_dict().items() if key != "path"})
        return f"{MAGIC} {FORMAT} {self._log.log_id} {self._digest(body)}\n".encode() + body + b"\n"

    def _digest(self, body: bytes) -> str:
        whole = f"{MAGIC} {FORMAT} {self._log.log_id}\n".encode() + body
        return hashlib.blake2b(whole, digest_size=DIGEST_BYTES).hexdigest()

    def _read(self, path: Path) -> RecordedSchema:
        with _storage_errors(path):
            content = durable_files.read_at_most(path, MOST_BYTES + 1)
        head, _, rest = content.partition(b"\n")
        words = head.decode("ascii", "replace").split(" ")
        if words[0] != MAGIC or len(content) > MOST_BYTES:
            raise _damaged(path, "it is no file of recorded schemas")
        if words[1:2] != [FORMAT]:
            found = " ".join(words[1:2])
            raise FormatVersionError(
                f"{path} has the format {found!r}", path=str(path), found=found, supported=FORMAT
            )
        if words[2:3] != [self._log.log_id]:
            raise _damaged(path, f"it belongs to another log, {' '.join(words[2:3])}")
        body = rest.removesuffix(b"\n")
        if words[3:] != [self._digest(body)] or not rest.endswith(b"\n"):
            raise _damaged(path, "its checksum does not fit")
        try:
            return self._decoded(path, orjson.loads(body))
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, f"it holds no schema: {error}") from error

    def _decoded(self, path: Path, body: dict[str, Any]) -> RecordedSchema:
        one = RecordedSchema(
            body["event_type"],
            body["version"],
            Schema(body["document"], body["origin"]),
            body["recorded_at_ns"],
            body["package_version"],
            str(path),
        )
        if self._path(one.event_type, one.version).name != path.name:
            raise ValueError(f"{one.event_type} {one.version} has another file")
        return one


def recorder_of(log: Log, clock: Clock | None = None) -> Callable[[str, str, Schema], object]:
    """What a registry's ``recorder`` is while this log is open for writing; it does not keep the log alive or open."""
    reference = weakref.ref(log)

    def record(event_type: str, version: str, schema: Schema) -> None:
        target = reference()
        if target is not None and not target.is_closed:
            Catalogue(target, clock).record_one(event_type, version, schema)

    return record


def _declared(registry: Registry) -> Iterator[tuple[str, str, Schema]]:
    for text in registry.declared_types():
        for version in registry.versions(text):
            schema = registry.schema(text, version)
            if schema is not None:
                yield text, version, schema


def _described(one: RecordedSchema) -> dict[str, str]:
    digest = hashlib.blake2b(canonical(one.schema.document), digest_size=DIGEST_BYTES).hexdigest()
    return {
        "event_type": one.event_type,
        "version": one.version,
        "origin": one.schema.origin,
        "digest": digest,
    }


def _write(path: Path, content: bytes) -> None:
    """The file whole or not at all: aside, synced, renamed. The folder is synced by the caller, once for all."""
    aside = path.with_suffix(ASIDE)
    aside.unlink(missing_ok=True)  # what a crash left
    durable_files.write(aside, content)
    aside.replace(path)


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    """Errors of the operating system inside become StorageError or DiskFullError with the path."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        named = str(error.filename or path)
        if error.errno in (ENOSPC, EDQUOT):
            raise DiskFullError(f"no room for {named}", path=named, errno=error.errno) from error
        message = f"{named}: {error.strerror or error}"
        raise StorageError(message, path=named, errno=error.errno) from error


def _damaged(path: Path, reason: str) -> CorruptionError:
    return CorruptionError(f"{path} is damaged: {reason}", path=str(path), offset=0, reason=reason)
