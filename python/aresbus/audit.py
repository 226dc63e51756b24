"""The audit log beside the events: what was done to a log, by whom, on whose word, and how it ended.

Owns the record of administrative acts: a log of its own in ``audit/``, small segments, each entry durable before
the call returns. Knows nothing of what the acts do. Invariants: the intent is stored before the act and the
outcome after it; an intent without outcome is closed by the next opening; a reader's acts go to a trail of its own.
"""

import os
import pwd
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

from aresbus import _core

__all__ = ["AuditTrail", "actor", "open_intents"]

FOLDER = "audit"
SEGMENT_BYTES = 1 << 20
"""An opening and a closing take about 2 KiB; a segment holds years of a daily restart."""
READER_SEGMENT_BYTES = 1 << 16
"""A reader's trail holds the few acts of one process."""
INTENT, OUTCOME = "intent", "outcome"
DONE: Literal["done"] = "done"
FAILED: Literal["failed"] = "failed"
INTERRUPTED: Literal["interrupted"] = "interrupted"
TEXT_LIMIT = 4_000
"""Characters kept of a reason or an error's text: an entry has to fit, wherever the text came from."""

_actor: ContextVar[tuple[str, str]] = ContextVar("aresbus_actor", default=("", ""))


class AuditTrail:
    """One open trail of acts on one log: the writer's own, or that of a process that reads. One writer each."""

    def __init__(
        self, log_path: str, *, reader: str | None = None, reason: str = "", force_filesystem: bool = False
    ) -> None:
        """Open or create the trail in ``log_path``/audit, and close the intents that a crash left open.

        ``reader``: name of a reader's own folder in there. ``reason`` is recorded with every act that has none of its
        own. Raises what opening a log raises, for the path of the trail.
        """
        folders = (FOLDER,) if reader is None else (FOLDER, reader)
        path = os.path.join(log_path, *folders)  # noqa: PTH118 - a path may be any text the OS takes
        self._reason = reason
        self._log = _core.Log(
            path,
            durability="group",
            segment_bytes=SEGMENT_BYTES if reader is None else READER_SEGMENT_BYTES,
            force_filesystem=force_filesystem,
        )
        try:
            for act_id, name in open_intents(self._log).items():
                self._end(name, act_id, INTERRUPTED, {"found_by": "the next opening"})
        except BaseException:
            self._log.close()
            raise

    @contextmanager
    def act(
        self, name: str, details: Mapping[str, Any] | None = None, *, reason: str = ""
    ) -> Iterator[dict[str, Any]]:
        """Record the intent, run the body, record how it ended; both are durable when they return.

        ``reason``: why; by default that of the surrounding :func:`actor`, else that of the opening. The body may put
        what came of it into the dict it gets. A failing intent raises before the body runs, so that nothing is done
        that is not recorded. A failing body is recorded with its error, which goes on.
        """
        act_id = self._begin(name, details, reason)
        result: dict[str, Any] = {}
        try:
            yield result
        except BaseException as error:
            text = plain_text(f"{type(error).__name__}: {error}")
            self._end(name, act_id, FAILED, {**result, "error": text}, reason)
            raise
        self._end(name, act_id, DONE, result, reason)

    def note(self, name: str, details: Mapping[str, Any]) -> None:
        """Record what has happened as part of an act that has its own intent; durable on return."""
        self._end(name, str(uuid.uuid4()), DONE, details)

    def close(self) -> None:
        """Close the trail. Idempotent."""
        self._log.close()

    def _begin(self, name: str, details: Mapping[str, Any] | None, reason: str = "") -> str:
        act_id = str(uuid.uuid4())
        self._append(name, act_id, INTENT, {"details": dict(details or {})}, reason)
        return act_id

    def _end(
        self, name: str, act_id: str, outcome: str, details: Mapping[str, Any], reason: str = ""
    ) -> None:
        self._append(name, act_id, OUTCOME, {"outcome": outcome, "details": dict(details)}, reason)

    def _append(self, name: str, act_id: str, phase: str, entry: dict[str, Any], reason: str) -> None:
        who = _who(reason, self._reason)
        self._log.append(
            name, {"phase": phase, **entry, "actor": who}, correlation_id=act_id, source="aresbus"
        )


@contextmanager
def actor(name: str, *, reason: str = "") -> Iterator[None]:
    """Record every act inside this ``with`` block as done by ``name``, for ``reason``.

    The account of the operating system is recorded beside the name as ever: a name is said, an account is proven. Works
    in sync and async code and follows tasks and ``asyncio.to_thread`` as contextvars do; blocks nest, the innermost
    holds. Raises TypeError unless both are text, ValueError for an empty name.
    """
    for text in (name, reason):
        if not isinstance(text, str):
            raise TypeError(f"the name and the reason of an actor are text, not {type(text).__name__}")
    if not name:
        raise ValueError("an actor needs a name")
    token = _actor.set((name, reason))
    try:
        yield
    finally:
        _actor.reset(token)


def open_intents(trail: _core.Log) -> dict[str, str]:
    """Act id to name of the acts without an outcome; entries that are none of ours count for nothing here."""
    begun: dict[str, str] = {}
    for event in trail.read():
        phase = event.data.get("phase") if isinstance(event.data, dict) else None
        if phase == INTENT:
            begun[event.correlation_id or ""] = str(event.event_type)
        elif phase == OUTCOME:
            begun.pop(event.correlation_id or "", None)
    return begun


def plain_text(text: str) -> str:
    """The text as JSON can hold it, cut to a sane length: half characters, as of odd paths, become their numbers."""
    return text.encode("utf-8", "backslashreplace").decode()[:TEXT_LIMIT]


def _who(reason: str, opened_for: str) -> dict[str, Any]:
    """Who acts: name, account, host, process, version of the package, and why."""
    name, its_reason = _actor.get()
    user = _user()
    return {
        "name": plain_text(name or user),
        "user": user,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "package_version": _core.__version__,
        "reason": plain_text(reason or its_reason or opened_for),
    }


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name  # getpass would believe $LOGNAME
    except KeyError:  # a uid without a name, as in many containers
        return f"uid {os.getuid()}"
