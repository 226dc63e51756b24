"""The audit log beside the events: what was done to a log, by whom, on whose word, and how it ended.

Owns the record of administrative acts: a log of its own in ``audit/``, small segments, each entry durable before
the call returns. Knows nothing of what the acts do. Invariants: the intent is stored before the act and the
outcome after it; an intent without outcome is closed by the next opening; readers write nothing here.
"""

import getpass
import os
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aresbus import _core

__all__ = ["AuditTrail"]

FOLDER = "audit"
SEGMENT_BYTES = 1 << 20
"""An opening and a closing take about 2 KiB; a segment holds years of a daily restart."""
INTENT, OUTCOME = "intent", "outcome"
DONE, FAILED, INTERRUPTED = "done", "failed", "interrupted"


class AuditTrail:
    """The open audit log of one log. One writer, as the log itself."""

    def __init__(self, log_path: str, *, reason: str = "", force_filesystem: bool = False) -> None:
        """Open or create the trail in ``log_path``/audit, and close the intents that a crash left open.

        Raises what opening a log raises, for the path of the trail.
        """
        self._actor = actor(reason)
        self._log = _core.Log(
            os.path.join(log_path, FOLDER),  # noqa: PTH118 - a path may be any text the OS takes
            durability="group",
            segment_bytes=SEGMENT_BYTES,
            force_filesystem=force_filesystem,
        )
        try:
            self._close_open_intents()
        except BaseException:
            self._log.close()
            raise

    @contextmanager
    def act(self, name: str, details: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Record the intent, run the body, record how it ended; both are durable when they return.

        The body may put what came of it into the dict it gets. A failing intent raises before the body runs, so
        that nothing is done that is not recorded. A failing body is recorded with its error, which goes on.
        """
        act_id = self._begin(name, details)
        result: dict[str, Any] = {}
        try:
            yield result
        except BaseException as error:
            self._end(name, act_id, FAILED, {**result, "error": f"{type(error).__name__}: {error}"})
            raise
        self._end(name, act_id, DONE, result)

    def note(self, name: str, details: Mapping[str, Any]) -> None:
        """Record what has happened as part of an act that has its own intent; durable on return."""
        self._end(name, str(uuid.uuid4()), DONE, details)

    def close(self) -> None:
        """Close the trail. Idempotent."""
        self._log.close()

    def _begin(self, name: str, details: Mapping[str, Any] | None) -> str:
        act_id = str(uuid.uuid4())
        self._append(name, act_id, INTENT, {"details": dict(details or {})})
        return act_id

    def _end(self, name: str, act_id: str, outcome: str, details: Mapping[str, Any]) -> None:
        self._append(name, act_id, OUTCOME, {"outcome": outcome, "details": dict(details)})

    def _append(self, name: str, act_id: str, phase: str, entry: dict[str, Any]) -> None:
        self._log.append(
            name, {"phase": phase, **entry, "actor": self._actor}, correlation_id=act_id, source="aresbus"
        )

    def _close_open_intents(self) -> None:
        begun: dict[str, str] = {}
        for event in self._log.read():
            act_id = event.correlation_id or ""
            if event.data["phase"] == INTENT:
                begun[act_id] = event.event_type
            else:
                begun.pop(act_id, None)
        for act_id, name in begun.items():
            self._end(name, act_id, INTERRUPTED, {"found_by": "the next opening"})


def actor(reason: str) -> dict[str, Any]:
    """Who acts: user, host, process, version of the package, and why."""
    return {
        "user": _user(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "package_version": _core.__version__,
        "reason": reason,
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, as in many containers
        return f"uid {os.getuid()}"
