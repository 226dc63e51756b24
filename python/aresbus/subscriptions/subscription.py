"""A subscription: a cursor on the log, the callback it feeds, the terms it keeps, and what became of its deliveries.

Owns the cursor's state and what its user may ask and say: acknowledge, park, redeliver, halt. How events get to it is
delivery's business. Invariants: a cursor never passes an event that was neither taken, parked nor, on its
user's word, skipped; what waits in memory is bounded, whatever the lag.
"""

import asyncio
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import BuiltinMethodType, MethodType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from aresbus._core import Event, Turn
from aresbus._typing import override
from aresbus.errors import BusStateError
from aresbus.places import Anchor
from aresbus.subscriptions.messages import Message
from aresbus.subscriptions.parking import MemoryParking, ParkedDelivery, Parking
from aresbus.subscriptions.selection import Selection
from aresbus.subscriptions.terms import Terms
from aresbus.subscriptions.waiting import Conflated, DropOldest, Refusing, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aresbus.schema.presenting import Presenter
    from aresbus.subscriptions.checkpoints import SubscriptionLog

__all__ = ["Callback", "Subscription", "Verdict"]

Callback: TypeAlias = Callable[[Event], Any]
"""Takes the event; what it returns is awaited if it can be, and otherwise ignored."""
Action: TypeAlias = Literal["ack", "retry", "park", "skip", "halt"]
"""What a subscriber may say of an event. "skip": pass it, counted; "halt": stand still before it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the subscriber said of the event it was given."""

    action: Action
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Redelivery:
    """Parked deliveries that somebody wants tried again, and who waits to hear how many were taken, how many not."""

    deliveries: list[ParkedDelivery]
    outcome: "asyncio.Future[tuple[int, int]] | None" = None

    def answer(self, counts: tuple[int, int]) -> None:
        """Tell who waits how many were taken, and how many stay parked."""
        if self.outcome is not None and not self.outcome.done():
            self.outcome.set_result(counts)

    def refuse(self, why: str) -> None:
        """Tell who waits that none was tried."""
        if self.outcome is not None and not self.outcome.done():
            self.outcome.set_exception(BusStateError(why))


class Owner(Protocol):
    """Who feeds a subscription."""

    def remove(self, subscription: "Subscription") -> None:
        """End it: no further delivery begins."""

    def wake(self, subscription: "Subscription") -> None:
        """It has work again. From any thread."""

    async def redeliver(
        self, subscription: "Subscription", deliveries: list[ParkedDelivery]
    ) -> tuple[int, int]:
        """Try parked deliveries again, in its own turn; how many were taken, and how many are parked again."""
        ...


class Subscription(Turn):
    """One callback on a choice of events, with a cursor of its own. Made by ``bus.subscribe``; used on the bus's loop."""

    halted_for: str | None = None
    """Why it stands still; None while it does not."""
    attempt: int = 0
    """How often the event that is being handled was tried before."""
    last_error: BaseException | None = None
    """Why the last try of that event failed."""
    retried_count: int = 0
    parked_count: int = 0
    """Deliveries that were parked since it was made; ``len(parked())`` are parked now."""
    skipped_count: int = 0
    blocked_count: int = 0
    """Publishers that had to wait for it ("block")."""

    next_seq: int
    """The first position it has not read, while it is behind; what lies before it never comes live."""
    is_behind: bool = False
    """Events come from the log, not live."""
    was_behind: bool = False
    """It began in history or was told FellBehind: CaughtUp is still to come."""
    has_begun: bool = False
    """It was given a place once: where its terms say it begins counts no more."""
    was_rewound: bool = False
    """Its checkpoint is of an event that was lost."""
    told_position: int
    """Up to here, exclusive, it was told of, by an event or a message."""
    reader: "Iterator[Event] | None" = None
    task: "asyncio.Task[None] | None" = None
    memory: "SubscriptionLog | None" = None
    """What outlives the process, of a durable subscription on an open log."""
    presenter: "Presenter"
    """Gives events the form that the callback wants."""
    begun: Verdict | None = None
    """What came of the first try of the event in hand, where that was made inside a publish and failed."""
    _judged: asyncio.Event | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    def __init__(
        self, selection: Selection, callback: Callback, terms: Terms, max_waiting: int, owner: Owner
    ) -> None:
        """Deliver what is selected; at most ``max_waiting`` events wait in memory. A cursor has yet to be given a place."""
        self.selection: Selection = selection
        self.event_type: str = selection.event_type
        """The type, or the pattern of types, it is subscribed to."""
        self.terms: Terms = terms
        self.callback: Callback = callback
        """What gets the events."""
        self.name: str = terms.name or getattr(callback, "__qualname__", None) or repr(callback)
        """Its own name if it is durable, else that of the callback, for reports."""
        self.next_seq = self.told_position = 0
        self.bound: int = min(terms.max_lag or max_waiting, max_waiting)
        """Events that wait in memory at most, where that is what its terms bound."""
        self.waiting: Waiting = self._make_waiting(max_waiting)
        self.parking: Parking = MemoryParking()
        self.pending_messages: list[Message] = []
        self.requests: deque[Redelivery] = deque()
        self.since_ns: int | None = terms.since_ns
        """Events that were appended before are not for it; None also of a durable one that has a checkpoint."""
        self.is_narrow: bool = selection.is_narrow or self.since_ns is not None
        """Whether an event of its type has to be looked at before it is wanted."""
        self.is_plain: bool = terms.name is None and terms.ack == "return" and selection.where is None
        """Nothing is asked, remembered or awaited around its callback."""
        self.is_inline: bool = terms.inline
        """Its callback runs inside a publish, where the event is the next that it has to take."""
        self._owner = weakref.ref(owner)

    # What its user may say

    def unsubscribe(self) -> None:
        """End the subscription. A delivery under way finishes, no further one begins. Idempotent.

        A durable one keeps its checkpoint: the next that subscribes by the name goes on from there.
        """
        owner = self._owner()
        if owner is None:
            self.is_active = False
        else:
            owner.remove(self)

    def ack(self, event: Event) -> None:
        """The event was taken. From any thread. Needed with ``ack="manual"`` alone. Raises BusStateError."""
        self._judge(event, Verdict("ack"))

    def nack(
        self, event: Event, action: Literal["retry", "park", "skip", "halt"] = "retry", reason: str = ""
    ) -> None:
        """The event was not taken: try again with back-off, park it, pass it, or stand still before it until resume().

        From any thread, also from within the callback. Raises BusStateError where the event is not being
        handled, because its time was up or it was judged before.
        """
        self._judge(event, Verdict(action, reason))

    def resume(self) -> None:
        """Go on after a halt, with the event before which it stands. Idempotent."""
        if self.halted_for is not None:
            self.halted_for = None
            if (owner := self._owner()) is not None:
                owner.wake(self)

    def parked(self) -> list[ParkedDelivery]:
        """Deliveries set aside, in the order of the log. Of a durable subscription they outlive the process."""
        return self.parking.deliveries()

    async def redeliver_parked(self, *, seq: int | None = None) -> tuple[int, int]:
        """Try parked deliveries again, all or that of ``seq``: how many were taken, and how many stay parked.

        In the subscription's own turn, between other events, in order; behind one that fails again, later ones of its
        key are not tried. With ``seq`` an earlier one of the same key is not waited for. Raises BusStateError
        without a bus.
        """
        owner = self._owner()
        if owner is None:
            raise BusStateError("the bus of this subscription is gone")
        chosen = self.parking.deliveries(seq)
        return await owner.redeliver(self, chosen)

    def drop_parked(self, *, seq: int | None = None) -> int:
        """Give up parked deliveries, all or that of ``seq``; how many. The events stay in the log."""
        chosen = self.parking.deliveries(seq)
        for one in chosen:
            self.parking.resolve(one.place, "dropped")
        return len(chosen)

    @property
    def checkpoint(self) -> Anchor | None:
        """What it would go on behind if the process were killed now; it follows the deliveries every ``processing_interval``.

        Everything up to it was taken, parked or skipped. None before any event, without a name, and while no log is open.
        A loss of power may set it back by ``sync_interval_ms``. From any thread.
        """
        memory = self.memory
        return None if memory is None else memory.passed

    # What delivery asks

    @property
    def is_durable(self) -> bool:
        """Whether it has a name, and so a checkpoint."""
        return self.terms.name is not None

    def fits(self, event: Event) -> bool:
        """Whether an event of a type that is meant is one that it selects, but for its predicate."""
        if self.since_ns is not None and (event.ts_ns or 0) < self.since_ns:
            return False
        return self.selection.fits(event)

    def position(self, dispatched: int) -> int:
        """The first seq it may still have to take, where everything before ``dispatched`` was handed out."""
        # ORDER: asked from other threads too. What was read becomes what waits, and that what is handled, between two looks:
        # looking in the same order, nobody finds an event in none of the three.
        unread = self.next_seq if self.is_behind else max(dispatched, self.next_seq)
        first = self.waiting.first()
        first = self.current or first
        return unread if first is None else first.seq or 0

    @property
    def has_work(self) -> bool:
        """Whether there is, or may be, an event to take or something to tell."""
        if self.pending_messages or self.requests:
            return True
        if self.halted_for is not None or not self.is_active:
            return False
        return self.current is not None or len(self.waiting) > 0 or self.is_behind

    def _make_waiting(self, max_waiting: int) -> Waiting:
        how = self.terms.back_pressure
        if how == "drop_oldest":
            return DropOldest(self.bound)
        if how == "conflate":
            return Conflated(self.bound, self.terms.key)
        return Refusing(self.bound if how == "disconnect" else max_waiting)

    def begin_judging(self) -> None:
        """The callback is about to get an event."""
        if self.terms.ack == "manual":
            self._judged, self._loop = asyncio.Event(), asyncio.get_running_loop()
        self.open_judging()

    async def verdict(self) -> Verdict | None:
        """What was said of the event, once the callback returned. Raises TimeoutError where nothing was in time."""
        if self.said is None and self._judged is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._judged.wait(), self.terms.ack_timeout)
        said: Verdict | None = self.end_judging()
        if said is None and self._judged is not None:
            raise TimeoutError(f"not acknowledged within {self.terms.ack_timeout:g} s")
        return said

    def _judge(self, event: Event, verdict: Verdict) -> None:
        if not self._say(event.seq, verdict):
            raise BusStateError(f"{self.name} is not handling {event!r}: it was judged, or its time was up")
        if self._judged is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._judged.set)

    @override
    def __repr__(self) -> str:
        state = "ended" if not self.is_active else "halted" if self.halted_for is not None else "active"
        return f"<Subscription {self.event_type} -> {self.name}, {state}>"


def is_same_callback(one: Callback, other: Callback) -> bool:
    """Whether both are one object, or the same method of one object: each access makes a new method.

    Not equality at large: two callable lists are equal when both are empty.
    """
    return one is other or (isinstance(one, MethodType | BuiltinMethodType) and one == other)
