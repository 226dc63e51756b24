"""The made side of a replay: what the handlers publish goes to a log of the replay's own, under ids that repeat.

Owns that log, the ids, the queue to the handlers and the digest of it all. Delivers nothing. Invariants: the log that is
replayed is never written; the same publishes in the same order have the same ids, times and digest; an event is
delivered only after it was stored.
"""

import os
import uuid
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aresbus._core import Event, Expected, ManualClock, Receipt
from aresbus.correlation import handled_event, inherit
from aresbus.errors import ConfigError, UnknownEventTypeError
from aresbus.events import EventType, RegisteredEventType, event_type_of
from aresbus.log import Log
from aresbus.replay.digest import Digest, decision_form

__all__ = ["Made", "known_type"]


class Made:
    """What a replay has published so far."""

    def __init__(
        self,
        source: Log,
        output: str | os.PathLike[str] | None,
        clock: ManualClock,
        seed: str | int,
        *,
        inherits: bool,
    ) -> None:
        """Publish into a new log at ``output``, or in memory; both take their time from ``clock``.

        ``inherits``: correlation and causation come from the event being handled. Raises ConfigError.
        """
        self.queue: deque[Event] = deque()
        """Published and not yet delivered."""
        self.count: int = 0
        self.types: set[str] = set()
        """Every type published so far."""
        self.digest: Digest = Digest()
        self._inherits = inherits
        self._ids, self._seed = uuid.UUID(source.log_id), seed
        self._owns_file = output is not None
        self.log: Log = Log(None, clock=clock) if output is None else _new_log(source, output, clock)

    def publish(  # noqa: PLR0917 - in the order of publish
        self,
        event_type: str,
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
    ) -> Event | Receipt:
        """Store the event, and line it up for delivery unless it is a retry.

        Raises what an append raises, and UnknownEventTypeError.
        """
        known = known_type(event_type)
        handled = handled_event.get()
        if handled is not None and self._inherits:
            correlation_id, causation_id = inherit(handled, correlation_id, causation_id)
        if event_id is None:
            event_id = str(uuid.uuid5(self._ids, f"{self._seed}/{self.count}"))
        event: Event | Receipt = self.log._publish(  # noqa: SLF001 - the engine's door for a bus
            known, data, source, correlation_id, causation_id, aggregate_id, tags,
            event_id, event_time_ns, schema_version, expected_version, None,
        )  # fmt: skip
        if isinstance(event, Receipt):
            return event
        event._set_replay()  # noqa: SLF001 - the engine keeps it for us
        self.count += 1
        self.types.add(str(known))
        self.digest.add(decision_form(event))
        self.queue.append(event)
        return event

    def close(self) -> None:
        """Close the log if it is on disk; what is in memory stays readable until the replay is dropped. Idempotent."""
        if self._owns_file:
            self.log.close()


def known_type(event_type: str) -> EventType | RegisteredEventType:
    """The type object for the text. Raises UnknownEventTypeError."""
    known = event_type_of(event_type)
    if known is None:
        raise UnknownEventTypeError(
            f"no event type {event_type!r}", event_type=str(event_type), problems=["nobody registered it"]
        )
    return known


def _new_log(source: Log, output: str | os.PathLike[str], clock: ManualClock) -> Log:
    path = Path(output)
    if source.path is not None and path.exists() and path.samefile(source.path):
        raise _refused(f"output: {path} is the log that is replayed, which a replay never writes")
    log = Log(path, clock=clock, reason=f"output of a replay of {source.log_id}")
    if log.last_seq is not None:
        log.close()
        raise _refused(f"output: {path} holds events already; a replay wants a log of its own")
    return log


def _refused(problem: str) -> ConfigError:
    return ConfigError(f"the replay cannot be made: {problem}", problems=[problem])
