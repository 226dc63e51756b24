"""The bus as its subscribers see it: subscribe on any terms, unsubscribe, register reducers.

Owns the signatures and their promises. How events are handed out is delivery's, where a subscription stands its own.
"""

from collections.abc import Callable, Hashable, Mapping
from datetime import datetime
from inspect import iscoroutinefunction
from typing import Any, Literal

from aresbus._core import Event
from aresbus.errors import UnknownEventTypeError
from aresbus.events import event_type_of
from aresbus.life import LivingBus
from aresbus.reducers import Reducer
from aresbus.snapshot_policies import SnapshotPolicy
from aresbus.subscriptions import Callback, Selection, Subscription, Terms
from aresbus.subscriptions.subscription import is_same_callback
from aresbus.subscriptions.terms import AckMode, BackPressure, OnMessage, OnUnknown, by_aggregate

__all__ = ["SubscribableBus", "unknown_type"]


class SubscribableBus(LivingBus):
    """A bus that can be subscribed to. Users make an EnhancedEventBus."""

    def subscribe(
        self,
        event_type: str,
        callback: Callback,
        *,
        name: str | None = None,
        after: int | Literal["start"] | None = None,
        since: datetime | int | None = None,
        aggregate_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        where: Callable[[Event], Any] | None = None,
        on_message: OnMessage | None = None,
        ack: AckMode = "return",
        ack_timeout: float = 30.0,
        max_retries: int | None = None,
        back_off: tuple[float, float] = (0.010, 1.0),
        key: Callable[[Event], Hashable] = by_aggregate,
        back_pressure: BackPressure = "lag",
        max_lag: int | None = None,
        inline: bool = False,
        unknown_versions: OnUnknown = "raw",
    ) -> Subscription:
        """Call ``callback(event)`` for every event of the type appended from now on; sync or async.

        Each subscription has its own cursor: it gets the events in the order of the log, one at a time, and neither
        waits for nor suffers from another. A callback that raises is tried again after a back-off, then the
        delivery is parked, and the cursor moves on.

        What: ``event_type`` is a type, ``"order_*"`` all that begin so, ``"*"`` every type. ``aggregate_id``,
        ``tags`` (all of them) and ``where(event)`` narrow it down; ``where`` runs in the subscription's turn and fails
        as the callback does.

        From where: with none of ``name``, ``after``, ``since`` from now on. ``after``: a position, exclusive, or
        "start"; ``since``: a time of append; either may be still to come, and is waited for. What is there already comes from the log, until ``on_message`` is told
        CaughtUp; nothing is lost or repeated where it meets the live events.

        ``inline`` runs the callback inside ``publish``, for what has to react within microseconds.

        ``name`` makes it durable: at least once, across restarts, also on a bus with mode "r"; opening it blocks for
        the disk, some ms. :class:`aresbus.subscriptions.Terms` explains it, and every other setting.

        From any thread. Raises UnknownEventTypeError, TypeError, ConfigError, LogLockedError (the name is in use),
        StorageError.
        """
        text: Any = event_type_of(event_type)
        if text is None and Selection.is_pattern(event_type):
            text = event_type
        if text is None:
            raise unknown_type(event_type)
        for what in (callback, *([] if where is None else [where])):
            if not callable(what):
                raise TypeError(f"a callback is called with the event; {what!r} cannot be called")
        terms = Terms(
            name=name,
            after=after,
            since=since,
            on_message=on_message,
            ack=ack,
            ack_timeout=ack_timeout,
            max_retries=max_retries,
            back_off=back_off,
            key=key,
            back_pressure=back_pressure,
            max_lag=max_lag,
            inline=inline,
            unknown_versions=unknown_versions,
        )
        selection = Selection(text, aggregate_id, tags, where)
        terms.check([*selection.problems(), *_inline_problems(callback, where, is_inline=inline)])
        return self._delivery.add(selection, callback, terms)

    def unsubscribe(self, event_type: str, callback: Callback) -> None:
        """End every subscription of this callback to this type; nothing if there is none.

        A delivery under way finishes, no further one begins; a handler may unsubscribe itself.
        """
        for subscription in self._delivery.roster.by_type.get(event_type, ()):
            if is_same_callback(subscription.callback, callback):
                subscription.unsubscribe()

    def register_reducer(
        self, event_type: str | None, reducer: Reducer, *, version: int = 1, category: str | None = None
    ) -> None:
        """Fold events into the state of their aggregate with ``reducer(state, event)``.

        Events of the type, of aggregates of the category, or both; of an event the most special one is asked: type and
        category, then category, then type. It returns the new state, or None if it changed the given one; it must be
        pure, and runs off the loop. Raising ``version`` makes the snapshots of older reducers worthless.
        """
        self._snapshots.reducers.register(event_type, reducer, version, category=category)

    def set_snapshot_policy(self, policy: SnapshotPolicy, *, category: str | None = None) -> None:
        """When snapshots are made of the aggregates of a category; None: of all that have no policy of their own.

        From now on. Until it is called the policy is ``SnapshotPolicy(every_events=snapshot_frequency)`` for all; with
        ``enable_snapshots`` False none is made but by :meth:`take_snapshot`. Call it before the bus runs, or on its loop.
        """
        self._snapshots.set_policy(policy, category)


def _inline_problems(
    callback: Callback, where: Callable[[Event], Any] | None, *, is_inline: bool
) -> list[str]:
    if not is_inline:
        return []
    problems = (
        [] if where is None else ["inline and where: the predicate needs a turn of the subscription's own"]
    )
    if iscoroutinefunction(callback) or iscoroutinefunction(getattr(callback, "__call__", None)):  # noqa: B004
        problems.append(
            f"inline: {callback!r} is a coroutine function; inside a publish nothing can be awaited"
        )
    return problems


def unknown_type(event_type: Any) -> UnknownEventTypeError:
    """The error of a text that names no event type."""
    return UnknownEventTypeError(
        f"no event type {event_type!r}", event_type=str(event_type), problems=["nobody registered it"]
    )
