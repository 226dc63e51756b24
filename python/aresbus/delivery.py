"""From the log to the handlers: who gets which event, in which order, and what happens if a handler fails.

Owns the newest events as shared objects, the position up to which events were handed out, and every subscription.
Runs no task and no thread: `runner` and `process_pending` drive it, on one loop. Invariants: order within a
subscription is the order of the log; a failing handler keeps no event from another; an event is passed only once
it was taken or parked; memory is bounded by max_history, whatever lags.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from itertools import islice

from aresbus._core import Event, Log
from aresbus.clock import Clock
from aresbus.config import BusConfig
from aresbus.correlation import handled_event
from aresbus.errors import HandlerError, TruncatedError
from aresbus.events import EventStatus
from aresbus.metrics import Counters
from aresbus.subscriptions import PARKED_LIMIT, Callback, Subscription
from aresbus.troubles import Troubles, described

__all__ = ["Delivery"]

FIRST_BACK_OFF_SECONDS = 0.010
LONGEST_BACK_OFF_SECONDS = 1.0
"""A failing handler is tried again after 10 ms, then twice as long each time, up to a second."""


class Delivery:
    """The subscriptions of one bus and their way through the log. All but ``remember`` on the bus's loop."""

    def __init__(
        self,
        config: BusConfig,
        counters: Counters,
        troubles: Troubles,
        clock: Clock,
        observe: Callable[[int, Event], None],
    ) -> None:
        """``observe`` sees each event once as it is handed out."""
        self.config: BusConfig = config
        self.counters: Counters = counters
        self.troubles: Troubles = troubles
        self.clock: Clock = clock
        self.log: Log | None = None
        self.dispatched: int = 0
        """Everything before this seq was handed out to subscriptions."""
        self.entered: Subscription | None = None
        """Whose handler was entered last: the suspect when the loop is held."""
        self.by_type: dict[str, list[Subscription]] = {}
        self.woken: dict[Subscription, None] = {}
        """Who has new work, in the order of subscribing, so that two runs deliver alike."""
        self._observe = observe
        self._recent: dict[int, Event] = {}
        self._failing: dict[int, dict[Subscription, bool]] = {}
        self._changing = threading.Lock()
        self._processed_before = 0
        self._processed_from = 0
        self._processed_to = 0

    def attach(self, log: Log) -> None:
        """Work on ``log``, from its end."""
        last = log.last_seq
        start = 0 if last is None else last + 1
        self._processed_before += self._processed_to - self._processed_from
        self._processed_from = self._processed_to = self.dispatched = start
        self.log = log
        self._recent.clear()
        self._failing.clear()
        with self._changing:
            for subscription in self.subscriptions():
                subscription.next_seq, subscription.is_behind, subscription.reader = start, False, None
                subscription.pending.clear()

    # Subscriptions

    def subscriptions(self) -> list[Subscription]:
        """All active ones."""
        return [one for several in self.by_type.values() for one in several]

    def add(self, event_type: str, callback: Callback) -> Subscription:
        """Subscribe to what is appended from now on. From any thread."""
        log = self.log
        last = None if log is None or log.is_closed else log.last_seq
        made = Subscription(event_type, callback, 0 if last is None else last + 1, self)
        with self._changing:
            # A new dict and a new list: the loop may be walking the old ones.
            self.by_type = {**self.by_type, event_type: [*self.by_type.get(event_type, ()), made]}
        return made

    def remove(self, subscription: Subscription) -> None:
        """End a subscription. From any thread. Idempotent."""
        subscription.is_active = False
        with self._changing:
            kept = {
                event_type: [one for one in several if one is not subscription]
                for event_type, several in self.by_type.items()
            }
            self.by_type = {event_type: several for event_type, several in kept.items() if several}

    # The newest events

    def remember(self, event: Event) -> None:
        """Keep a live event for the subscriptions and the history. From any thread."""
        seq = event.seq or 0
        self._recent[seq % self.config.max_history] = event

    def _shared(self, event: Event) -> Event:
        """The one object that stands for the event in this process, if it is among the newest."""
        seq = event.seq or 0
        slot = seq % self.config.max_history
        known = self._recent.get(slot)
        if known is not None and (known.seq or 0) >= seq:
            return known if known.seq == seq else event
        self._recent[slot] = event
        return event

    def recent(self) -> list[Event]:
        """The newest events held as objects, oldest first."""
        return sorted(self._recent.values(), key=lambda event: event.seq or 0)

    # Handing out

    def dispatch(self, limit: int) -> bool:
        """Hand out at most ``limit`` events to the subscriptions that want them; True if there are more."""
        log = self.log
        last = None if log is None else log.last_seq
        if log is None or last is None:
            return False
        end = min(last + 1, self.dispatched + limit)
        while self.dispatched < end:
            event = self._recent.get(self.dispatched % self.config.max_history)
            if event is not None and event.seq == self.dispatched:
                self._route(event)
            elif not self._dispatch_from(log, end):
                return False
        return end <= last

    def _dispatch_from(self, log: Log, end: int) -> bool:
        """Hand out from the log what was appended past the bus, or by another process; False if nothing was there."""
        start = self.dispatched
        try:
            found = log.read(after=self.dispatched - 1 if self.dispatched else None, up_to=end - 1)
        except TruncatedError as error:
            self._skip_to(error.first_seq or end, "the bus", error)
            return True
        for event in found:
            if event.seq is not None and event.seq > self.dispatched:
                self._skip_to(event.seq, "the bus", None)
            self._route(self._shared(event))
        return self.dispatched > start

    def _route(self, event: Event) -> None:
        seq = self.dispatched
        wanting = self.by_type.get(event.event_type, ())
        if not wanting:
            event._set_status(EventStatus.PROCESSED)  # noqa: SLF001 - the engine keeps it for us
        for subscription in wanting:
            if subscription.is_behind or seq < subscription.next_seq:
                continue
            if len(subscription.pending) >= self.config.max_history:
                # It reads from the log from here on; what waits already it still gets first.
                subscription.is_behind, subscription.next_seq = True, seq
                continue
            subscription.pending.append(event)
            self.woken[subscription] = None
        self._observe(seq, event)
        self.dispatched = seq + 1

    def _skip_to(self, seq: int, who: str, error: TruncatedError | None) -> None:
        lost = seq - self.dispatched
        self.dispatched = seq
        self.counters.events_lost += lost
        self.troubles.report("lost", f"{who} lagged until {lost} events were no longer kept", error)

    # Taking

    async def drain(self, subscription: Subscription, limit: int) -> int:
        """Let the subscription take at most ``limit`` events; how many it took or parked."""
        if subscription.is_busy:
            return 0
        subscription.is_busy = True
        count = 0
        token = handled_event.set(None)
        try:
            while count < limit and subscription.is_active:
                event = self._next(subscription)
                if event is None:
                    break
                await self._deliver(subscription, event)
                subscription.pending.popleft()
                count += 1
        finally:
            subscription.is_busy = False
            handled_event.reset(token)
            self._advance()
        return count

    def _next(self, subscription: Subscription) -> Event | None:
        """The event to take now; it stays first in line until it was taken or parked."""
        if not subscription.pending and subscription.is_behind:
            self._refill(subscription)
        return subscription.pending[0] if subscription.pending else None

    def _refill(self, subscription: Subscription) -> None:
        """Read the next batch of a subscription that is behind; at the end of what was handed out it is live again."""
        log = self.log
        if log is None:
            return
        try:
            if subscription.reader is None:
                after = subscription.next_seq - 1 if subscription.next_seq else None
                subscription.reader = log.read(after=after, types=subscription.event_type)
            batch = list(islice(subscription.reader, self.config.batch_size))
        except TruncatedError as error:
            first = max(error.first_seq or 0, subscription.next_seq + 1)
            self.counters.events_lost += first - subscription.next_seq
            self.troubles.report(
                "lost", f"{subscription.name} lagged until events were no longer kept", error
            )
            subscription.next_seq, subscription.reader = first, None
            return
        if batch:
            subscription.pending.extend(map(self._shared, batch))
            subscription.next_seq = (batch[-1].seq or 0) + 1
            return
        examined = getattr(subscription.reader, "position", None)
        subscription.reader = None
        if examined is not None:
            subscription.next_seq = max(subscription.next_seq, examined + 1)
        subscription.is_behind = subscription.next_seq < self.dispatched

    async def _deliver(self, subscription: Subscription, event: Event) -> None:
        handled_event.set(event)
        self.entered = subscription
        if self.config.metrics_enabled and not subscription.is_behind:
            self.counters.latency.record(self.clock.time_ns() - (event.ts_ns or 0))
        try:
            result = subscription.callback(event)
            if result is not None and hasattr(type(result), "__await__"):
                await result
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is its own failure
            await self._retry(subscription, event, error)
        except asyncio.CancelledError as error:
            if _is_cancelled():
                self.counters.deliveries_cancelled += 1
                raise
            await self._retry(subscription, event, error)  # its own doing: it awaited something cancelled
        else:
            self._take(subscription, event)

    async def _retry(self, subscription: Subscription, event: Event, error: BaseException) -> None:
        """Try again up to max_retry_count times, then park the delivery."""
        self._fail(subscription, event, error, is_last=self.config.max_retry_count == 0)
        for attempt in range(1, self.config.max_retry_count + 1):
            await asyncio.sleep(min(FIRST_BACK_OFF_SECONDS * 2 ** (attempt - 1), LONGEST_BACK_OFF_SECONDS))
            if not subscription.is_active:
                return
            event.metadata.retry_count = attempt
            self.counters.deliveries_retried += 1
            subscription.retried_count += 1
            try:
                result = subscription.callback(event)
                if result is not None and hasattr(type(result), "__await__"):
                    await result
            except (Exception, asyncio.CancelledError) as again:
                if isinstance(again, asyncio.CancelledError) and _is_cancelled():
                    self.counters.deliveries_cancelled += 1
                    raise
                error = again
                self._fail(subscription, event, error, is_last=attempt == self.config.max_retry_count)
            else:
                self._take(subscription, event)
                return
        self._park(subscription, event, error)

    def _take(self, subscription: Subscription, event: Event) -> None:
        event._set_status(EventStatus.PROCESSED)  # noqa: SLF001 - the engine keeps it for us
        subscription.delivered_count += 1
        self.counters.events_delivered += 1
        if self._failing:
            self._failing.pop(event.seq or 0, None)

    def _fail(self, subscription: Subscription, event: Event, error: BaseException, *, is_last: bool) -> None:
        """Note a failed try; the event is failing only while nobody took it and everybody who wants it failed."""
        self.counters.deliveries_failed += 1
        self.troubles.report(
            f"handler {subscription.name}",
            f"{subscription.name} failed on {event!r}: {described(error)}",
            level=logging.WARNING,
        )
        if event._status() is EventStatus.PROCESSED:  # noqa: SLF001 - the engine keeps it for us
            return
        seq = event.seq or 0
        verdicts = self._failing.setdefault(seq, {})
        verdicts[subscription] = is_last
        wanting = self.by_type.get(event.event_type, ())
        if all(one in verdicts or one.position(self.dispatched) > seq for one in wanting):
            is_failed = all(verdicts.values())
            event._set_status(EventStatus.FAILED if is_failed else EventStatus.RETRYING)  # noqa: SLF001
            if is_failed:
                self.counters.events_failed += 1
                del self._failing[seq]
        while len(self._failing) > self.config.max_history:
            del self._failing[next(iter(self._failing))]

    def _park(self, subscription: Subscription, event: Event, error: BaseException) -> None:
        attempts = self.config.max_retry_count + 1
        parked = HandlerError(
            f"{subscription.name} failed {attempts} times on {event!r}, at last with {described(error)}",
            handler=subscription.name,
            seq=event.seq,
            event_id=event.event_id,
        )
        parked.__cause__ = error.with_traceback(None)
        subscription.park(event, attempts, parked)
        self.counters.deliveries_parked += 1
        self.troubles.report(f"parked {subscription.name}", str(parked), parked)
        if subscription.parked_count > PARKED_LIMIT:
            self.troubles.report(
                "parked too many", f"{subscription.name}: the oldest parked delivery was dropped"
            )

    # How far everything is

    def _advance(self) -> None:
        positions = [one.position(self.dispatched) for one in self.subscriptions()]
        self._processed_to = max(self._processed_to, min([self.dispatched, *positions]))

    @property
    def processed_position(self) -> int:
        """Everything before this seq went through delivery to every subscription."""
        self._advance()
        return self._processed_to

    @property
    def processed_count(self) -> int:
        """How many events went through delivery since the bus was made."""
        return self._processed_before + self.processed_position - self._processed_from

    @property
    def waiting_count(self) -> int:
        """How many events are appended and did not go through delivery yet."""
        log = self.log
        last = None if log is None or log.is_closed else log.last_seq
        return 0 if last is None else max(0, last + 1 - self.processed_position)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
