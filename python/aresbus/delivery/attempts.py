"""One event and one subscription: try, try again, and at last take, park, skip or stand still.

Owns back-off, verdicts, and the key order behind a parked event. Runs no task: delivery calls it in the subscription's turn.
Invariants: every failure is counted and logged; `begin` says that the event is passed only where it was taken, parked or
skipped, and not where its subscription halted before it or ended; a cancelled delivery was not made.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Coroutine, Hashable
from typing import Any, Literal, TypeAlias

from aresbus._core import Event
from aresbus.clock import Clock
from aresbus.config import BusConfig
from aresbus.correlation import handled_event
from aresbus.delivery.statuses import PROCESSED, Statuses
from aresbus.errors import AresbusError, HandlerError, LogClosedError, SchemaError
from aresbus.metrics import Counters
from aresbus.places import Anchor, anchor_of
from aresbus.subscriptions import Halted, ParkedDelivery, Subscription
from aresbus.subscriptions.checkpoints import Retry
from aresbus.subscriptions.subscription import Redelivery, Verdict
from aresbus.subscriptions.terms import LAST_NS
from aresbus.troubles import Troubles, described

__all__ = ["Attempts", "is_cancelled", "is_plain"]

NS_PER_SECOND = 1_000_000_000
NOT_WANTED = object()
LEAST_JITTER = 0.5
"""A wait is between half and all of its back-off, so that those who failed together do not try again together."""

Begun: TypeAlias = Verdict | Awaitable[Verdict | None]


class Attempts:
    """How one bus lets its subscriptions have events. On the bus's loop."""

    def __init__(
        self,
        config: BusConfig,
        counters: Counters,
        troubles: Troubles,
        clock: Clock,
        statuses: Statuses,
    ) -> None:
        """Nothing was tried yet."""
        self._config, self._counters, self._troubles, self._clock = config, counters, troubles, clock
        self._statuses = statuses
        self._note_latency = counters.latency.record_since if config.metrics_enabled else None

    def begin(self, subscription: Subscription, event: Event) -> Literal[True] | Coroutine[Any, Any, bool]:
        """Deliver the event: True where it was taken at once, else what to await for whether it is passed.

        It is passed where it was taken, parked or skipped; otherwise the subscription halted or ended. Most callbacks
        want nothing but the event and await nothing: those pay for no coroutine.
        """
        if not is_plain(subscription, event):
            return self._deliver(subscription, event)
        try:
            result = self.call_plainly(subscription, event)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the user's code
            return self._deliver(subscription, event, self._verdict_on(subscription, error))
        if result is not None and hasattr(type(result), "__await__"):
            return self._finish(subscription, event, result)
        if (said := subscription.end_judging()) is not None:
            return self._deliver(subscription, event, said)
        self.take(subscription, event)
        return True

    async def go_on(self, subscription: Subscription) -> None:
        """Whatever follows from a first try inside a publish."""
        event, begun, subscription.begun = subscription.current, subscription.begun, None
        handled_event.set(event)
        if event is not None and await self._deliver(subscription, event, begun):
            subscription.current = None

    def call_plainly(self, subscription: Subscription, event: Event) -> Any:
        """Call the callback once, with nothing around it; what it returns or raises is its own."""
        subscription.attempt = 0
        if self._note_latency is not None and not subscription.is_behind:
            self._note_latency(event)
        handled_event.set(event)
        subscription.open_judging()
        return subscription.callback(event)

    async def _finish(self, subscription: Subscription, event: Event, calling: Awaitable[Any]) -> bool:
        """Await what a plain callback returned; whether the event is passed."""
        try:
            await calling
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the user's code
            said: Verdict | None = self._verdict_on(subscription, error)
        else:
            said = subscription.end_judging()
        if said is not None:
            return await self._deliver(subscription, event, said)
        self.take(subscription, event)
        return True

    async def _deliver(self, subscription: Subscription, event: Event, begun: Begun | None = None) -> bool:
        """Whether the event is passed. ``begun``: the verdict of a first try, or what to await for it."""
        try:
            return await self._try_until(subscription, event, begun)
        except LogClosedError:
            raise
        except (AresbusError, OSError) as error:
            # Not to be parked, where the disk is full, say, is no reason to pass the event, nor to keep it from others.
            self._halt(subscription, event, f"it could not be set aside: {described(error)}")
            return False

    async def _try_until(self, subscription: Subscription, event: Event, begun: Begun | None) -> bool:
        if begun is None:
            if len(subscription.parking) and self._is_set_aside(subscription, event):
                return True
            subscription.last_error = None
            subscription.attempt = await self._resumed_attempts(subscription, event)
            handled_event.set(event)
            if self._note_latency is not None and not subscription.is_behind:
                self._note_latency(event)
            begun = self._try(subscription, event)
        while True:
            verdict = begun if isinstance(begun, Verdict) else await begun
            if verdict is None or verdict.action == "ack":
                self.take(subscription, event)
                return True
            if verdict.action == "skip":
                self._skip(subscription, event)
                return True
            if verdict.action == "halt":
                self._halt(subscription, event, verdict.reason)
                return False
            if self._is_parked_for(subscription, event, verdict):
                return True
            if not await self._is_tried_again(subscription, event, verdict.reason):
                return False
            begun = self._try(subscription, event)

    async def redeliver(self, subscription: Subscription, request: Redelivery) -> None:
        """Try the parked deliveries of the request again, and answer it."""
        if request.outcome is not None and request.outcome.done():
            return  # it was given up
        taken, kept, failed_keys = 0, 0, set()
        try:
            for one in request.deliveries:
                if not subscription.parking.has(one.place):
                    continue  # it was dropped or taken since it was asked for
                is_tried = one.key is None or one.key not in failed_keys
                is_tried = is_tried and subscription.is_active and subscription.halted_for is None
                if is_tried and await self._is_redelivered(subscription, one):
                    taken += 1
                else:
                    kept += 1
                    failed_keys.add(one.key)
        except BaseException:
            if request.outcome is not None:
                request.outcome.cancel()
            raise
        if taken or subscription.halted_for is None:
            request.answer((taken, kept))
        else:
            request.refuse(f"{subscription.name} is halted; resume() it first")

    async def _is_redelivered(self, subscription: Subscription, parked: ParkedDelivery) -> bool:
        """One try of a parked delivery; whether it is parked no more."""
        event, place = parked.event, parked.place
        subscription.redelivered, subscription.attempt = event, parked.attempts
        event.metadata.retry_count = parked.attempts
        handled_event.set(event)
        try:
            verdict = await self._try(subscription, event)
        finally:
            subscription.redelivered = None
        if verdict is None or verdict.action == "ack":
            subscription.parking.resolve(place, "redelivered")
            self.take(subscription, event)
            return True
        if verdict.action == "skip":
            subscription.parking.resolve(place, "dropped")
            subscription.skipped_count += 1
            return True
        if verdict.action == "halt":
            self._halt(subscription, event, verdict.reason)
        self._note_failure(subscription, event, verdict.reason)
        self._park(subscription, event, parked.attempts + 1, verdict.reason, place=place, key=parked.key)
        return False

    async def _try(self, subscription: Subscription, event: Event) -> Verdict | None:
        """Call the handler once; None: it took the event, and said nothing more."""
        try:
            shown = subscription.presenter.present(event)
        except SchemaError as error:
            # Steps are pure: trying again would change nothing.
            subscription.last_error = error
            is_halting = subscription.terms.unknown_versions == "halt"
            return Verdict("halt" if is_halting else "park", described(error))
        subscription.begin_judging()
        parts = shown if isinstance(shown, tuple) else (shown,)
        return await self._judged(subscription, self._call(subscription, parts))

    async def _judged(self, subscription: Subscription, calling: Awaitable[Any]) -> Verdict | None:
        """The verdict once the callback is done."""
        try:
            if await calling is NOT_WANTED:
                return Verdict("skip", "it is not wanted")
            return await subscription.verdict()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the user's code
            return self._verdict_on(subscription, error)

    def _verdict_on(self, subscription: Subscription, error: BaseException) -> Verdict:
        """What a raising callback comes to: whatever it raises is its own failure, also that it awaited something cancelled."""
        subscription.end_judging()
        if isinstance(error, asyncio.CancelledError) and is_cancelled():
            self._counters.deliveries_cancelled += 1
            raise error
        subscription.last_error = error
        return Verdict("retry", described(error))

    @staticmethod
    async def _call(subscription: Subscription, parts: tuple[Event, ...]) -> object:
        """Let the callback have the event, or its parts; NOT_WANTED where it wanted none of them."""
        selection, is_wanted = subscription.selection, False
        for part in parts:
            # A step may have made it another type than was subscribed to.
            if not selection.names(part.event_type) or not (selection.where is None or selection.where(part)):
                continue
            is_wanted = True
            result = subscription.callback(part)
            if result is not None and hasattr(type(result), "__await__"):
                await result
        return None if is_wanted else NOT_WANTED

    # What follows from a try

    def _is_parked_for(self, subscription: Subscription, event: Event, verdict: Verdict) -> bool:
        """Note the failure, and park the event if that was its last try; whether it was."""
        terms = subscription.terms
        most = self._config.max_retry_count if terms.max_retries is None else terms.max_retries
        is_last = verdict.action == "park" or subscription.attempt >= most
        self._note_failure(subscription, event, verdict.reason)
        self._statuses.failed(event, subscription, is_last=is_last)
        if is_last:
            self._park(subscription, event, subscription.attempt + 1, verdict.reason)
        return is_last

    async def _is_tried_again(self, subscription: Subscription, event: Event, reason: str) -> bool:
        """After the back-off; False where the subscription ended meanwhile."""
        subscription.attempt += 1
        await self._back_off(subscription, event, reason)
        if not subscription.is_active:
            return False
        event.metadata.retry_count = subscription.attempt
        self._counters.deliveries_retried += 1
        subscription.retried_count += 1
        return True

    async def _back_off(self, subscription: Subscription, event: Event, reason: str) -> None:
        first, longest = subscription.terms.back_off
        seconds = min(first * 2.0 ** min(subscription.attempt - 1, 60), longest)
        seconds *= random.uniform(LEAST_JITTER, 1.0)  # noqa: S311 - nobody's secret
        if subscription.memory is not None:
            wait_ns = int(min(seconds * NS_PER_SECOND, LAST_NS))
            due_ns = min(self._clock.time_ns() + wait_ns, LAST_NS)
            retry = Retry(event.seq or 0, event.event_id, subscription.attempt, reason, due_ns)
            subscription.memory.note_retry(retry)
        await asyncio.sleep(seconds)

    async def _resumed_attempts(self, subscription: Subscription, event: Event) -> int:
        """How often an earlier process tried this event, once it is due again; else 0."""
        memory = subscription.memory
        if memory is None or memory.retry is None:
            return 0
        retry, memory.retry = memory.retry, None
        if (retry.seq, retry.event_id) != (event.seq, event.event_id):
            return 0
        longest = subscription.terms.back_off[1]
        await asyncio.sleep(min(max(0, retry.due_ns - self._clock.time_ns()) / NS_PER_SECOND, longest))
        event.metadata.retry_count = retry.attempts
        return retry.attempts

    def take(self, subscription: Subscription, event: Event) -> None:
        """It was taken."""
        event._set_status(PROCESSED)  # noqa: SLF001 - the engine keeps it for us
        if self._statuses.failing:
            self._statuses.failing.pop(event.seq or 0, None)
        subscription.last_error = None  # with its frames, which may keep anything alive
        subscription.delivered_count += 1
        self._counters.events_delivered += 1

    def _skip(self, subscription: Subscription, event: Event) -> None:
        self._statuses.passed(event, subscription)
        subscription.skipped_count += 1

    def _halt(self, subscription: Subscription, event: Event, reason: str) -> None:
        subscription.halted_for = reason or "its subscriber said so"
        subscription.pending_messages.append(Halted(event.seq or 0, subscription.halted_for))
        name = subscription.name
        error = HandlerError(
            f"{name} stands still before {event!r}: {subscription.halted_for}; resume() goes on",
            handler=name,
            seq=event.seq,
            event_id=event.event_id,
        )
        self._troubles.report(f"halted {name}", str(error), error)

    def _note_failure(self, subscription: Subscription, event: Event, reason: str) -> None:
        self._counters.deliveries_failed += 1
        self._troubles.report(
            f"handler {subscription.name}",
            f"{subscription.name} failed on {event!r}: {reason}",
            level=logging.WARNING,
        )

    # Parking

    def _is_set_aside(self, subscription: Subscription, event: Event) -> bool:
        """Whether the event is parked: already, by a process that died before its checkpoint, or now, behind its key."""
        place = anchor_of(event)
        if subscription.parking.has(place):
            self._statuses.failed(event, subscription, is_last=True)
            return True
        key = self._key(subscription, event)
        if not subscription.parking.holds(key, place):
            return False
        self._statuses.failed(event, subscription, is_last=True)
        reason = f"an earlier event of {key!r} is parked"
        self._park(subscription, event, 0, reason, key=key, is_queued=True)
        return True

    def _key(self, subscription: Subscription, event: Event) -> Hashable:
        try:
            key = subscription.terms.key(event)
            return key if key is None or subscription.memory is None else str(key)
        except Exception as error:  # noqa: BLE001 - the user's code; without a key the event holds up nobody
            self._note_failure(subscription, event, f"its key function raises {described(error)}")
            return None

    def _park(
        self,
        subscription: Subscription,
        event: Event,
        attempts: int,
        reason: str,
        *,
        place: Anchor | None = None,
        key: Hashable = None,
        is_queued: bool = False,
    ) -> None:
        """Set it aside. ``place``: where the event was, if it is lost from the log since and knows none."""
        name, place = subscription.name, place or anchor_of(event)
        error = HandlerError(
            f"{name} did not get {event!r}: {reason}"
            if is_queued
            else f"{name} failed {attempts} times on {event!r}, at last with {reason}",
            handler=name,
            seq=place.seq,
            event_id=event.event_id,
        )
        cause = subscription.last_error
        if cause is not None and not is_queued:
            error.__cause__ = cause.with_traceback(None)
        if key is None and subscription.memory is not None:
            key = self._key(subscription, event)
        dropped = subscription.parking.park(ParkedDelivery(event, attempts, error, place, key, is_queued))
        subscription.parked_count += 1
        subscription.last_error = None
        self._counters.deliveries_parked += 1
        self._troubles.report(f"parked {name}", str(error), error)
        if dropped:
            self._troubles.report("parked too many", f"{name}: the oldest parked delivery was dropped")


def is_plain(subscription: Subscription, event: Event) -> bool:
    """Whether the callback can have the event as it is, with nothing asked, remembered or awaited around it."""
    kind = event.event_type
    return (
        subscription.is_plain
        and (kind == subscription.event_type or subscription.selection.names(kind))
        and subscription.presenter.is_current(event)
    )


def is_cancelled() -> bool:
    """Whether somebody wants the running task to end; an awaited thing may be cancelled for its own reasons."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
