"""What a strategy may use of a bus, so that one and the same object runs live and in a replay.

Owns that interface and nothing else: EnhancedEventBus and Replay both have it. Invariant: it has nothing that only one of
the two can do.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from aresbus._core import Durability, Event, Expected
from aresbus.clock import Clock
from aresbus.subscriptions import Callback

__all__ = ["StrategyBus"]


class StrategyBus(Protocol):
    """The part of a bus that works live and in a replay alike."""

    @property
    def clock(self) -> Clock:
        """What time it is: ``clock.now()``, ``clock.time_ns()``."""

    def publish(  # noqa: PLR0917 - fixed by the contract
        self,
        event_type: str,
        data: Any,
        source: str = "",
        correlation_id: str | None = None,
        aggregate_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        *,
        causation_id: str | None = None,
        event_id: str | None = None,
        event_time_ns: int | None = None,
        schema_version: str | None = None,
        expected_version: Expected | int = Expected.ANY,
        durability: Durability | None = None,
    ) -> Coroutine[Any, Any, str]:
        """Append the event now; awaiting the result gives its id."""

    def subscribe(
        self,
        event_type: str,
        callback: Callback,
        *,
        aggregate_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        where: Callable[[Event], Any] | None = None,
    ) -> Any:
        """Call ``callback(event)`` for every event of the type, or pattern of types, from now on, narrowed down as asked."""

    def unsubscribe(self, event_type: str, callback: Callback) -> None:
        """End every subscription of this callback to this type."""
