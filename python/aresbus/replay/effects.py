"""The gate between a replay and the world: calls with side effects are held back unless allowed by name.

Owns the marks that code puts on such calls, and the record of what was held back. Knows no replay and no bus. Invariants:
outside of a replay a mark changes nothing; inside one nothing passes that was not allowed by name, and everything that
was held back is counted. What is inside follows tasks and ``asyncio.to_thread`` as context variables do: a thread that
a handler starts by other means (``run_in_executor``, ``threading.Thread``) is outside.
"""

import functools
import inspect
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from aresbus._core import Event
from aresbus.correlation import handled_event
from aresbus.errors import EffectBlockedError

__all__ = ["BlockedEffect", "Effects", "current_effects", "gate", "sink"]

BLOCKED_KEPT = 10_000
"""Records of blocked calls kept; beyond it the oldest go, the count stays right."""
AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class BlockedEffect:
    """A call that a replay held back: of which sink, which function, while which event was handled."""

    sink: str
    call: str
    seq: int | None
    event_id: str | None


class Effects:
    """What one replay lets out, and what it held back."""

    def __init__(self, allow: Iterable[str] = ()) -> None:
        """Let the sinks named in ``allow`` through."""
        self.allowed: frozenset[str] = frozenset(allow)
        self.performed: Counter[str] = Counter()
        """Calls let through, by sink."""
        self.blocked: Counter[str] = Counter()
        """Calls held back, by sink."""
        self.records: deque[BlockedEffect] = deque(maxlen=BLOCKED_KEPT)
        """The newest calls held back, oldest first."""

    def admits(self, name: str, call: str) -> bool:
        """Whether a call may go on; counted either way."""
        if name in self.allowed:
            self.performed[name] += 1
            return True
        seq, event_id = _handled()
        self.blocked[name] += 1
        self.records.append(BlockedEffect(name, call, seq, event_id))
        return False


current_effects: ContextVar[Effects | None] = ContextVar("aresbus_effects", default=None)
"""Of the replay that this code runs in, or None."""


def sink(name: str, *, instead: Callable[..., Any] | None = None) -> Callable[[AnyFunction], AnyFunction]:
    """Mark a function, sync or async, that acts on the world: ``@sink("broker")``.

    In a replay that does not allow the name it is not called: the call is recorded, and gives what ``instead`` gives for
    the same arguments (it may be async where the function is), else None. Elsewhere it is an ordinary call.
    """

    def mark(function: AnyFunction) -> AnyFunction:
        call = getattr(function, "__qualname__", repr(function))

        @functools.wraps(function)
        def guarded(*args: Any, **keywords: Any) -> Any:
            if _admits(name, call):
                return function(*args, **keywords)
            return None if instead is None else instead(*args, **keywords)

        @functools.wraps(function)
        async def guarded_async(*args: Any, **keywords: Any) -> Any:
            if _admits(name, call):
                return await function(*args, **keywords)
            result = None if instead is None else instead(*args, **keywords)
            return await result if inspect.isawaitable(result) else result

        return cast(AnyFunction, guarded_async if inspect.iscoroutinefunction(function) else guarded)

    return mark


@contextmanager
def gate(name: str) -> Iterator[None]:
    """A context manager around code that acts on the world and must not be passed over in silence.

    In a replay that does not allow the name it raises EffectBlockedError before the body runs; elsewhere it does nothing.
    """
    if not _admits(name, "gate"):
        seq, event_id = _handled()
        text = f"the sink {name!r} is closed in this replay"
        raise EffectBlockedError(text, sink=name, seq=seq, event_id=event_id)
    yield


def _handled() -> tuple[int | None, str | None]:
    """Position and id of the event whose handler runs here."""
    handled = handled_event.get()
    return (handled.seq, handled.event_id) if isinstance(handled, Event) else (None, None)


def _admits(name: str, call: str) -> bool:
    effects = current_effects.get()
    return effects is None or effects.admits(name, call)
