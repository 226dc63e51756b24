"""From the log to the handlers: who gets which event, and in which order.

Owns the turn of each subscription, and handing out. Who is subscribed is the roster's business, what is held in memory the
frontier's, what a handler does with an event attempts', where a subscription stands in history cursors'. Runs no task and no
thread: `runner` and `process_pending` drive it, on one loop. Invariants: order within a subscription is the order of the
log; a failing handler keeps no event from another; an event is passed only once it was taken, parked or skipped; memory
is bounded by max_history, whatever lags.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

from aresbus._core import Event, Log
from aresbus.clock import Clock
from aresbus.config import BusConfig
from aresbus.correlation import handled_event
from aresbus.delivery import cursors
from aresbus.delivery.attempts import Attempts
from aresbus.delivery.frontier import Frontier, newest_epoch
from aresbus.delivery.inline import Inline
from aresbus.delivery.pressure import Pressure, serving
from aresbus.delivery.requests import Requests
from aresbus.delivery.rewinding import first_beyond, go_back
from aresbus.delivery.roster import Roster
from aresbus.delivery.statuses import PROCESSED, Statuses
from aresbus.delivery.telling import tell
from aresbus.errors import AresbusError, LogLockedError, TruncatedError
from aresbus.metrics import Counters
from aresbus.schema import EventVersionManager
from aresbus.subscriptions import Callback, Disconnected, ParkedDelivery, Selection, Subscription, Terms
from aresbus.troubles import Troubles, described

__all__ = ["Delivery"]


class Delivery:
    """The subscriptions of one bus and their way through the log. On the bus's loop unless it says otherwise."""

    def __init__(
        self,
        config: BusConfig,
        counters: Counters,
        troubles: Troubles,
        clock: Clock,
        *,
        observe: Callable[[int, Event], bool] | None,
        versions: EventVersionManager,
    ) -> None:
        """``observe`` sees each event go out, and says if housekeeping may be due; ``versions`` gives handlers' forms."""
        self.config: BusConfig = config
        self.counters: Counters = counters
        self.troubles: Troubles = troubles
        self.roster: Roster = Roster(versions)
        self.frontier: Frontier = Frontier(config, counters, observe, versions)
        self.pressure: Pressure = Pressure(self.roster, self.frontier, config.max_history)
        self.on_wake: Callable[[], None] | None = None
        """Tells the runner that somebody has work who was not routed to."""
        self._versions = versions
        self._statuses = Statuses(counters, config.max_history, self.roster, self.frontier)
        self._attempts = Attempts(config, counters, troubles, clock, self._statuses)
        self.inline: Inline = Inline(self._attempts, self.frontier)
        self._refiller = cursors.Refiller(config, self.frontier, versions, counters, troubles)
        self._observe = observe
        self._woken: dict[Subscription, None] = {}
        self._asked: deque[Subscription] = deque()
        self.requests: Requests = Requests()
        self._is_attached = self._is_dispatching = False
        self._placing = threading.Lock()
        """Held while subscriptions get, store or give up their places: by one thread at a time."""
        self._processed_before = 0
        self._processed_from = 0
        self._processed_to = 0

    def attach(self, log: Log) -> None:
        """Work on ``log``, from its end. Blocks for the disk where subscriptions are durable; raises what their logs raise."""
        with self._placing:
            self.inline.forget_ready()
            self._processed_before += self._processed_to - self._processed_from
            self.frontier.attach(log)
            self._processed_from = self._processed_to = self.frontier.dispatched
            self._statuses.clear()
            subscriptions = self.roster.all()
            for subscription in subscriptions:
                cursors.begin(subscription, log)
            for subscription in subscriptions:
                subscription.has_begun = True
            self._is_attached = True

    def detach(self) -> None:
        """The log is about to be closed: store how far everybody came. Blocks for the log of each durable subscription.

        A checkpoint that cannot be stored is reported: its events come again.
        """
        with self._placing:
            self.inline.forget_ready()
            self._advance()
            self._is_attached = False
            for subscription in self.roster.all():
                self._let_go_of(subscription)

    def go_back(self, log: Log) -> bool:
        """Go on in ``log``, the same one opened again, which a later writer may have cut below what was read; on the loop.

        False, and nothing changed, where no later writer recovered it: then what cannot be read is damaged.
        """
        frontier = self.frontier
        if newest_epoch(log) <= frontier.epoch:
            return False
        with self._placing:
            self.inline.forget_ready()
            newest = frontier.newest
            cut = first_beyond(log, (newest.epoch or 0) if newest is not None else frontier.epoch)
            for subscription in self.roster.all():
                go_back(subscription, frontier, log, cut)
            frontier.go_back(log, cut)
            self._statuses.clear()
            undone = max(0, self._processed_to - cut)
            self._processed_to -= undone
            self._processed_before += undone
        for subscription in self.roster.all():
            if subscription.has_work:
                self.wake(subscription)
        return True

    # Subscriptions

    def add(self, selection: Selection, callback: Callback, terms: Terms) -> Subscription:
        """Subscribe, from now on or where ``terms`` say. From any thread; blocks for the disk if they name it durable."""
        made = Subscription(selection, callback, terms, self.config.max_history, self)
        made.presenter = self._versions.presenter(terms.unknown_versions)
        with self._placing:
            if terms.name is not None and any(one.terms.name == terms.name for one in self.roster.all()):
                raise LogLockedError(f"the subscription {terms.name!r} is in use on this bus")
            log = self.frontier.log if self._is_attached else None
            if log is not None and not log.is_closed:
                try:
                    cursors.begin(made, log)
                except BaseException:
                    cursors.forget(made)  # at once: whoever holds the error holds the subscription
                    raise
                made.has_begun = True
            self.roster.add(made)
        self.inline.look_who_is_there(self.roster)
        if made.has_work:
            self.wake(made)
        return made

    def remove(self, subscription: Subscription) -> None:
        """End a subscription. From any thread. Idempotent."""
        subscription.is_active = False
        self.roster.remove(subscription)
        self.inline.look_who_is_there(self.roster)
        if subscription.busy_since is None:
            self.let_go(subscription)
        self.pressure.look()

    def wake(self, subscription: Subscription) -> None:
        """It has work. From any thread."""
        self.inline.forget_ready()
        self._asked.append(subscription)
        if self.on_wake is not None:
            self.on_wake()

    def take_woken(self) -> dict[Subscription, None]:
        """Who has work since the last call."""
        while self._asked:
            self._woken[self._asked.popleft()] = None
        woken, self._woken = self._woken, {}
        return woken

    # Handing out

    def dispatch(self, limit: int) -> bool:
        """Hand out at most ``limit`` events to the subscriptions that want them; True if there are more.

        Raises what makes delivery impossible: LogClosedError, CorruptionError.
        """
        frontier = self.frontier
        last = None if frontier.log is None else frontier.log.last_seq
        if last is None or self._is_dispatching:
            return False  # from within, by what a report calls: whoever dispatches comes to the rest
        end, self._is_dispatching = min(last + 1, frontier.dispatched + limit), True
        try:
            while frontier.dispatched < end:
                if (event := frontier.held(frontier.dispatched)) is not None:
                    self.route(event)
                elif not self._dispatch_from_log(end):
                    return False
            return end <= last
        finally:
            self._is_dispatching = False

    def _dispatch_from_log(self, end: int) -> bool:
        """Hand out from the log what was appended past the bus, or by another process; False if nothing was there."""
        frontier, log = self.frontier, self.frontier.log
        start = frontier.dispatched
        if log is None:
            return False
        if (first := log.first_seq) > start:
            self._skip_to(first, None)
            return True
        try:
            for event in log.read(after=start - 1 if start else None, up_to=end - 1):
                if event.seq is not None and event.seq > frontier.dispatched:
                    self._skip_to(event.seq, None)
                self.route(frontier.shared(event))
                frontier.newest = event
        except TruncatedError as error:
            self._skip_to(error.first_seq or end, error)
        return frontier.dispatched > start

    def route(self, event: Event) -> None:
        """Hand out the event that comes next."""
        seq = self.frontier.dispatched
        is_wanted = False
        for subscription in self.roster.matching(event.event_type):
            if subscription.is_narrow and not subscription.fits(event):
                continue
            is_wanted = True
            if subscription.is_behind or seq < subscription.next_seq:
                continue
            if subscription.is_inline:
                if self.frontier.is_on and self.inline.takes(self, subscription, event):
                    continue
                self.inline.forget_ready()  # what waits for a turn goes before what comes next
            if subscription.waiting.add(event):
                self._woken[subscription] = None
            elif subscription.terms.back_pressure == "disconnect":
                self._disconnect(subscription, seq)
            else:
                # It reads from the log from here on; what waits already it still gets first.
                subscription.is_behind, subscription.next_seq = True, seq
        if not is_wanted:
            event._set_status(PROCESSED)  # noqa: SLF001 - the engine keeps it for us
        if self._observe is not None:
            self._observe(seq, event)
        self.frontier.dispatched = seq + 1

    def _disconnect(self, subscription: Subscription, seq: int) -> None:
        lag = seq - subscription.position(seq)
        first = subscription.waiting.first()
        # What waits is let go, not taken: where it is durable the next of its name begins there.
        subscription.is_behind, subscription.next_seq = True, seq if first is None else first.seq or 0
        subscription.waiting.clear()
        subscription.pending_messages.append(Disconnected(subscription.position(seq), lag))
        self.remove(subscription)
        self._woken[subscription] = None
        self.troubles.report(
            f"disconnected {subscription.name}",
            f"{subscription.name} lagged {lag} events behind; it was disconnected",
        )

    def _skip_to(self, seq: int, error: TruncatedError | None) -> None:
        """What comes before ``seq`` is no longer kept: whoever was live finds that out in its own turn, behind what waits."""
        self.inline.forget_ready()
        start, self.frontier.dispatched = self.frontier.dispatched, seq
        for one in self.roster.all():
            if not one.is_behind and one.next_seq < seq:
                one.is_behind, one.next_seq = True, max(start, one.next_seq)
                self._woken[one] = None
        self.troubles.report("lost", f"the bus lagged until {seq - start} events were no longer kept", error)

    # Taking

    async def drain(self, subscription: Subscription, limit: int) -> int:
        """Let the subscription take at most ``limit`` events; how many it took, parked or passed."""
        if subscription.busy_since is not None:
            return 0
        subscription.busy_since = time.monotonic()
        self.frontier.entered = subscription
        handled, served = handled_event.set(None), serving.set(subscription)
        count = 0
        try:
            if subscription.begun is not None:
                await self._attempts.go_on(subscription)
            while True:
                while subscription.requests:
                    await self._attempts.redeliver(subscription, subscription.requests.popleft())
                task = subscription.task
                # Its turn ends although it has work: the bus was stopped, or a handler outlived its cancellation.
                is_over = not self._is_attached or (task is not None and task.cancelling() > 0)
                if is_over or count >= limit:
                    break
                if subscription.pending_messages:
                    await tell(subscription, self.troubles)
                    continue
                event = self._next(subscription)
                if event is not None:
                    outcome = self._attempts.begin(subscription, event)
                    if outcome is True or await outcome:
                        subscription.current = None
                        count += 1
                elif not subscription.pending_messages:
                    break
        finally:
            handled_event.reset(handled)
            serving.reset(served)
            self._leave(subscription)
        return count

    def _next(self, subscription: Subscription) -> Event | None:
        """The event whose turn it is, now in hand; None where there is none, or something to tell before it."""
        if subscription.halted_for is not None or not subscription.is_active:
            return None
        event, waiting = subscription.current, subscription.waiting
        if event is not None:
            return event
        event = waiting.first()
        if event is None:
            if not subscription.is_behind:
                return None
            self._refiller.refill(subscription)
            event = None if subscription.pending_messages else waiting.first()
        if event is not None:
            # ORDER: whoever asks for the position from another thread finds it in one of the two places.
            subscription.current = event
            waiting.take()
        return event

    async def redeliver(
        self, subscription: Subscription, deliveries: list[ParkedDelivery]
    ) -> tuple[int, int]:
        """Try parked deliveries again, in the subscription's turn; how many were taken, and how many stay parked.

        Raises BusStateError while it is halted, once it ended, from within its own handler, and where the bus stops first.
        """
        with self.requests.made(subscription, deliveries) as outcome:
            if self.on_wake is None:
                await self.drain(subscription, 0)
            else:
                self.wake(subscription)
            return await outcome

    def _leave(self, subscription: Subscription) -> None:
        subscription.busy_since = None
        self._advance()
        self.pressure.look()
        if not subscription.is_active:
            self.let_go(subscription)

    def let_go(self, subscription: Subscription) -> None:
        """It has ended: store how far it came, and free its name for the next."""
        with self._placing:
            self._let_go_of(subscription)

    def _let_go_of(self, subscription: Subscription) -> None:
        self._remember(subscription)
        try:
            cursors.forget(subscription)
        except (AresbusError, OSError) as error:
            self._report_checkpoint(subscription, error)

    # How far everything is

    def remember(self) -> None:
        """Store all checkpoints, without the disk. One that cannot be stored is reported, and tried again the next time."""
        for subscription in self.roster.all():
            with self._placing:
                self._remember(subscription)

    def _remember(self, subscription: Subscription) -> None:
        try:
            cursors.remember(subscription, self.frontier)
        except (AresbusError, OSError) as error:
            self._report_checkpoint(subscription, error)

    def _report_checkpoint(self, subscription: Subscription, error: BaseException) -> None:
        text = f"the checkpoint of {subscription.name} cannot be stored, so events may come again: {described(error)}"
        self.troubles.report(f"checkpoint {subscription.name}", text, error)

    def tell_positions(self) -> None:
        """Queue a position message for whoever came on without an event."""
        for subscription in self.roster.all():
            if cursors.tell_position(subscription, self.frontier.dispatched):
                self.wake(subscription)

    def _advance(self) -> None:
        dispatched = self.frontier.dispatched
        positions = [one.position(dispatched) for one in self.roster.all()]
        self._processed_to = max(self._processed_to, min([dispatched, *positions]))

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
        lags = [self.frontier.lag(one) for one in self.roster.all() if one.halted_for is None]
        return max(0, self.frontier.end - self.processed_position, *lags)
