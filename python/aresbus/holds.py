"""Legal holds: events that must not expire, by name, query and reason, until somebody releases them.

Owns the file of holds beside the log, an authority: whole or an error, replaced as one, durable when a call returns. Knows no
retention. Invariants: who adds or releases a hold and who drops events never do so at once; what cannot be read holds
everything.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from aresbus._core import Log
from aresbus.durable_files import read_at_most, sync_folder, write
from aresbus.errors import ConfigError, CorruptionError
from aresbus.events import datetime_of_ns, ns_of_datetime

__all__ = ["Hold", "Holds"]

FOLDER, FILE, ASIDE, LOCK = "holds", "holds.json", "holds.tmp", "LOCK"
FORMAT = 1
DIGEST_BYTES = 16
MOST_BYTES = 1 << 26
POSITIONS, MOMENTS = ("after", "up_to"), ("since", "until")
TEXTS = ("aggregate_id", "correlation_id", "source")
QUERY_KEYS = (*POSITIONS, *MOMENTS, "time", "types", *TEXTS, "tags")


@dataclass(frozen=True, slots=True)
class Hold:
    """Events that are kept: those that match ``query``, whatever their age."""

    name: str
    query: dict[str, Any]
    """Keywords of :meth:`Log.read`; times as ns since 1970. An empty one holds everything."""
    reason: str
    since_ns: int
    """When it was made, ns since 1970 UTC."""

    @property
    def since(self) -> datetime:
        """:attr:`since_ns` as an aware datetime, to the microsecond."""
        return datetime_of_ns(self.since_ns)

    def holds_in(self, log: Log, first: int, last: int) -> bool:
        """Whether an event from ``first`` up to ``last``, which are kept, matches. Blocks for the disk."""
        query = dict(self.query)
        after, up_to = query.pop("after", None), query.pop("up_to", None)
        start = first if after is None else max(first, after + 1)
        end = last if up_to is None else min(last, up_to)
        if start > end:
            return False
        found = log.read(after=start - 1 if start else None, up_to=end, limit=1, **query)
        return next(found, None) is not None


class Holds:
    """The holds of one log."""

    def __init__(self, log_path: str | os.PathLike[str], log_id: str) -> None:
        """Nothing is read or made yet."""
        self._log_path, self._log_id = Path(log_path), log_id
        self._folder = self._log_path / FOLDER

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep everybody else, in any process, from changing holds and from dropping events. Blocks; makes the folder."""
        if not self._folder.is_dir():
            with suppress(FileExistsError):
                self._folder.mkdir(mode=0o700)
            sync_folder(self._log_path)
        descriptor = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def read(self) -> tuple[Hold, ...]:
        """All of them, in the order in which they were made. Raises CorruptionError, OSError."""
        path = self._folder / FILE
        try:
            body = orjson.loads(read_at_most(path, MOST_BYTES))
            digest = body.pop("digest")
            is_whole = digest == _digest(body) and body["format"] == FORMAT
            found = tuple(Hold(**one) for one in body["holds"])
        except FileNotFoundError:
            return ()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, f"it is no file of holds: {error}") from error
        if not is_whole:
            raise _damaged(path, "its digest does not fit")
        if body["log_id"] != self._log_id:
            raise _damaged(path, "it is another log's")
        return found

    def add(self, name: str, query: Mapping[str, Any], reason: str) -> Hold:
        """Store one more; durable on return. Raises ConfigError, CorruptionError, OSError."""
        hold = Hold(name, _checked(name, query, reason), reason, time.time_ns())
        with self.locked():
            known = self.read()
            if any(one.name == name for one in known):
                problem = f"name: a hold {name!r} is there already"
                raise ConfigError(f"the hold cannot be made: {problem}", problems=[problem])
            self._store((*known, hold))
        return hold

    def release(self, name: str) -> Hold:
        """Take one away; durable on return. Raises ConfigError where there is none, CorruptionError, OSError."""
        with self.locked():
            known = self.read()
            released = next((one for one in known if one.name == name), None)
            if released is None:
                problem = f"name: there is no hold {name!r}"
                raise ConfigError(f"the hold cannot be released: {problem}", problems=[problem])
            self._store(tuple(one for one in known if one is not released))
        return released

    def _store(self, holds: Sequence[Hold]) -> None:
        body = {"format": FORMAT, "log_id": self._log_id, "holds": [asdict(one) for one in holds]}
        aside = self._folder / ASIDE
        aside.unlink(missing_ok=True)
        write(aside, orjson.dumps({**body, "digest": _digest(body)}))
        aside.replace(self._folder / FILE)
        sync_folder(self._folder)


def _digest(body: dict[str, Any]) -> str:
    canonical = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(canonical, digest_size=DIGEST_BYTES).hexdigest()


def _damaged(path: Path, reason: str) -> CorruptionError:
    return CorruptionError(f"{path} is damaged: {reason}", path=str(path), offset=0, reason=reason)


def _checked(name: str, query: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """The query in the form that is stored. Raises ConfigError that lists every fault."""
    problems = [
        f"query: unknown key {key!r}; the keys are {', '.join(QUERY_KEYS)}"
        for key in query.keys() - {*QUERY_KEYS}
    ]
    problems += [
        f"{what}: takes text" for what, text in (("name", name), ("reason", reason)) if not _is_text(text)
    ]
    found: dict[str, Any] = {}
    for key, value in query.items():
        if value is None or key not in QUERY_KEYS:
            continue
        try:
            found[key] = _stored(key, value)
        except (TypeError, ValueError) as error:
            problems.append(f"{key}: got {value!r}, takes {error}")
    if problems:
        raise ConfigError(f"the hold cannot be made: {'; '.join(problems)}", problems=problems)
    return found


def _stored(key: str, value: Any) -> Any:
    """The value as JSON. Raises TypeError or ValueError that says what the key takes."""
    if key in MOMENTS:
        is_aware = isinstance(value, datetime) and value.tzinfo is not None
        return ns_of_datetime(value) if is_aware else _position(value, "an aware datetime or ns since 1970")
    if key in POSITIONS:
        return _position(value, "a position from 0 on")
    if key == "time" and value not in ("append", "event"):
        raise ValueError('"append" or "event"')
    if key == "tags":
        if not isinstance(value, Mapping):
            raise TypeError("a mapping of text to text")
        return {_text(one, "text keys"): _text(text, "text values") for one, text in value.items()}
    if key == "types" and not isinstance(value, str):
        return [_text(one, "a text or several") for one in value]
    return _text(value, "text")


def _position(value: Any, takes: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(takes)
    return value


def _text(value: Any, takes: str) -> str:
    if not isinstance(value, str):
        raise TypeError(takes)
    return str(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)
