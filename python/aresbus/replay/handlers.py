"""The handlers of a replay: who wants which event, and what became of each call.

Owns the subscriptions and the calls, one at a time in the order of subscribing. Knows neither log nor clock. Invariants:
a handler that raises keeps no event from the others; while a handler runs, the event is the cause of what it publishes;
there are no retries, which would make two replays of one failure differ from its first try.
"""

import asyncio
import logging
from typing import Any

from aresbus._core import Event
from aresbus._typing import override
from aresbus.correlation import handled_event
from aresbus.errors import HandlerError
from aresbus.subscriptions import Callback, Selection
from aresbus.subscriptions.subscription import is_same_callback
from aresbus.troubles import Troubles, described

__all__ = ["Handlers", "ReplaySubscription"]


class ReplaySubscription:
    """One callback on a choice of a replay's events. Made by ``replay.subscribe``."""

    def __init__(self, selection: Selection, callback: Callback, owner: "Handlers") -> None:
        """Active from the next delivery on."""
        self.selection: Selection = selection
        self.event_type: str = selection.event_type
        """The type, or the pattern of types, it is subscribed to."""
        self.callback: Callback = callback
        self.name: str = getattr(callback, "__qualname__", None) or repr(callback)
        """Name of the callback, for reports."""
        self.is_active: bool = True
        self.delivered_count: int = 0
        self._owner = owner

    def unsubscribe(self) -> None:
        """End the subscription. Idempotent; a handler may end its own."""
        self._owner.remove(self)

    @override
    def __repr__(self) -> str:
        state = "active" if self.is_active else "ended"
        return f"<ReplaySubscription {self.event_type} -> {self.name}, {state}>"


class Handlers:
    """The subscriptions of one replay."""

    def __init__(self, *, stops_on_error: bool) -> None:
        """Nobody subscribed yet. ``stops_on_error``: the first failure is for the caller to raise, so it is not logged."""
        self.delivered: int = 0
        self.failed: int = 0
        self.troubles: Troubles = Troubles(logging.getLogger("aresbus.replay"))
        self.task: asyncio.Task[Any] | None = None
        """The task that a handler runs in now."""
        self._subscriptions: tuple[ReplaySubscription, ...] = ()
        self._by_type: dict[str, tuple[ReplaySubscription, ...]] = {}
        """Who means a type, of the types asked for since the subscriptions changed."""
        self._stops_on_error = stops_on_error
        self._failure: HandlerError | None = None

    def add(self, selection: Selection, callback: Callback) -> ReplaySubscription:
        """Subscribe, behind those that did before. Raises TypeError."""
        for what in (callback, *([] if selection.where is None else [selection.where])):
            if not callable(what):
                raise TypeError(f"a callback is called with the event; {what!r} cannot be called")
        made = ReplaySubscription(selection, callback, self)
        self._replace((*self._subscriptions, made))
        return made

    def remove(self, subscription: ReplaySubscription) -> None:
        """End one subscription."""
        subscription.is_active = False
        self._replace(tuple(one for one in self._subscriptions if one.is_active))

    def remove_callback(self, event_type: str, callback: Callback) -> None:
        """End every subscription of this callback to this type, or pattern of types."""
        for one in self._subscriptions:
            if one.event_type == event_type and is_same_callback(one.callback, callback):
                self.remove(one)

    def wanting(self, event: Event) -> list[ReplaySubscription]:
        """Who means the event, but for their predicates, which are called in their turn."""
        text = event.event_type
        matching = self._by_type.get(text)
        if matching is None:
            matching = tuple(one for one in self._subscriptions if one.selection.names(text))
            self._by_type[text] = matching
        return [one for one in matching if not one.selection.is_narrow or one.selection.fits(event)]

    def _replace(self, subscriptions: tuple[ReplaySubscription, ...]) -> None:
        self._subscriptions, self._by_type = subscriptions, {}

    async def deliver(self, event: Event) -> None:
        """Call every handler that wants the event, to its end, one after another."""
        wanting = self.wanting(event)
        if not wanting:
            return
        token = handled_event.set(event)
        self.task = asyncio.current_task()
        try:
            for subscription in wanting:
                if subscription.is_active:
                    await self._call(subscription, event)
        finally:
            self.task = None
            handled_event.reset(token)

    async def _call(self, subscription: ReplaySubscription, event: Event) -> None:
        where = subscription.selection.where
        try:
            if where is not None and not where(event):
                return
            result = subscription.callback(event)
            if result is not None and hasattr(type(result), "__await__"):
                await result
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is its own failure
            self._fail(subscription, event, error)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._fail(subscription, event, error)  # its own doing: it awaited something cancelled
        else:
            subscription.delivered_count += 1
            self.delivered += 1

    def _fail(self, subscription: ReplaySubscription, event: Event, error: BaseException) -> None:
        self.failed += 1
        where = f"{subscription.name} failed in a replay on {event!r}"
        failure = HandlerError(
            f"{where} with {described(error)}",
            handler=subscription.name,
            seq=event.seq,
            event_id=event.event_id,
        )
        failure.__cause__ = error
        if self._stops_on_error and self._failure is None:
            self._failure = failure
        else:
            self.troubles.report(f"handler {subscription.name}", failure.message, failure)

    def take_failure(self) -> HandlerError | None:
        """The failure that the replay has to stop for, if there is one."""
        failure, self._failure = self._failure, None
        return failure
