"""Which event is being handled here and now, so that what is published meanwhile knows its cause.

Owns one context variable. Knows no bus. Invariants: the variable follows tasks and threads as contextvars do; an
id that the publisher gives is never replaced.
"""

from contextvars import ContextVar

from aresbus.events import Event

__all__ = ["handled_event", "inherit"]

handled_event: ContextVar[Event | None] = ContextVar("aresbus_handled_event", default=None)
"""The event whose handler runs in this context, or None."""


def inherit(
    handled: Event, correlation_id: str | None, causation_id: str | None
) -> tuple[str | None, str | None]:
    """Correlation and causation id of an event published while ``handled`` is being handled.

    The conversation is the handled event's, or begins with it; the cause is the handled event.
    """
    if correlation_id is None:
        correlation_id = handled.correlation_id or handled.event_id
    return correlation_id, handled.event_id if causation_id is None else causation_id
