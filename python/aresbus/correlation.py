"""Which conversation and which cause this code speaks for, so that what is published meanwhile knows both.

Owns one context variable and who sets it for whom; what is inherited is the engine's rule (`inherit`). Knows no bus and no log. Invariants: the variable follows tasks and
threads as contextvars do; the innermost setting holds, so a handler speaks for its event whatever surrounds the bus; an
id that the publisher gives is never replaced.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from uuid import uuid4

from aresbus._core import MAX_ID_BYTES, Event, inherit
from aresbus.errors import LimitError

__all__ = ["Conversation", "correlate", "handled_event", "inherit"]


@dataclass(frozen=True, slots=True)
class Conversation:
    """What :func:`correlate` opened; read as :func:`inherit` reads the event being handled."""

    correlation_id: str
    event_id: str | None
    """The event that causes what is published inside; None where no event did."""


handled_event: ContextVar[Event | Conversation | None] = ContextVar("aresbus_handled_event", default=None)
"""The event whose handler runs in this context, or the conversation opened there since; None outside of both."""


@contextmanager
def correlate(correlation_id: str | None = None, causation_id: str | None = None) -> Iterator[str]:
    """Give what a bus publishes inside this ``with`` block one correlation id, and yield that id.

    ``correlation_id``: 1 to 1,024 bytes of UTF-8; by default a new UUID. ``causation_id``: the event that causes what is
    published inside; by default the event being handled, or that of an enclosing block, or none. Blocks nest, the
    innermost holds; ids given to ``publish`` itself win; a bus with ``correlation_tracking=False`` and the native
    ``log.append`` inherit nothing.

    Works in sync and async code. Tasks and ``asyncio.to_thread`` started inside speak for the block also after it has
    ended; a plain thread or an executor does so when it runs ``contextvars.copy_context().run``. Raises TypeError for
    an id that is no text, LimitError for one that no event can carry.
    """
    for name, value in (("correlation_id", correlation_id), ("causation_id", causation_id)):
        _check(name, value)
    outer = handled_event.get()
    if causation_id is None and outer is not None:
        causation_id = outer.event_id
    conversation = Conversation(correlation_id or str(uuid4()), causation_id)
    token = handled_event.set(conversation)
    try:
        yield conversation.correlation_id
    finally:
        handled_event.reset(token)


def _check(name: str, value: str | None) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"{name} is text or None, not {type(value).__name__}")
    size = len(value.encode("utf-8", "surrogatepass"))
    if not 1 <= size <= MAX_ID_BYTES:
        raise LimitError(
            f"{name} has 1 to {MAX_ID_BYTES:,} bytes of UTF-8, this one {size:,}",
            what=name,
            got=size,
            limit=MAX_ID_BYTES,
        )
