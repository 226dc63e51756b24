"""Where a subscription stands in the log: where it begins, how it catches up, and what is remembered of it.

Owns the reading of history for one subscription, and its checkpoint. Runs no handler. Invariants: the hand-over from
history to live events loses and repeats nothing, since a subscription that is behind gets nothing but what it reads itself;
a checkpoint is stored only up to what is durable, and believed only if its event still stands there (R19).
"""

from itertools import islice

from aresbus._core import Event, Log
from aresbus.config import BusConfig
from aresbus.delivery.frontier import Frontier
from aresbus.delivery.rewinding import first_beyond
from aresbus.errors import ConfigError, TruncatedError
from aresbus.metrics import Counters
from aresbus.places import Anchor, anchor_at, anchor_of, end_of, event_at, stands
from aresbus.schema import EventVersionManager
from aresbus.subscriptions import CaughtUp, FellBehind, Halted, Lost, Position, Rewound, Subscription
from aresbus.subscriptions.checkpoints import BEFORE_THE_FIRST, SubscriptionLog
from aresbus.subscriptions.parking import MemoryParking
from aresbus.subscriptions.subscription import Redelivery
from aresbus.troubles import Troubles

__all__ = ["Refiller", "begin", "forget", "remember", "rewind", "tell_position"]


def begin(subscription: Subscription, log: Log) -> None:
    """Put the subscription at its place in ``log``: after its checkpoint, where its terms say, or at the end.

    Blocks for the disk if it is durable. Raises LogLockedError, ConfigError, StorageError.
    """
    subscription.waiting.clear()
    subscription.reader = subscription.current = subscription.begun = None
    # What a life of before could not tell any more; a Rewound comes again where its checkpoint still is of a lost event.
    subscription.pending_messages = [
        one for one in subscription.pending_messages if isinstance(one, Lost | Halted)
    ]
    subscription.requests.clear()
    memory = _opened_memory(subscription, log) if subscription.is_durable else None
    if memory is None or memory.checkpoint is None:
        start, is_from_history = _beginning(subscription, log)
        if memory is not None and subscription.terms.is_from_now_on:
            _remember_now(memory, log, start)
    else:
        start, is_from_history = _recalled(subscription, log, memory.checkpoint), True
    subscription.next_seq = subscription.told_position = start
    subscription.is_behind = subscription.was_behind = is_from_history


def _beginning(subscription: Subscription, log: Log) -> tuple[int, bool]:
    """Where its terms let it begin, and whether in history.

    They count for a live one until it has begun, on an earlier opening of this log that is; for a durable one until it has
    a checkpoint. A place that is still to come counts until it came.
    """
    terms, end = subscription.terms, end_of(log)
    counts = subscription.is_durable or not subscription.has_begun
    if counts and (terms.after == "start" or terms.since is not None):
        return log.first_seq, True
    if isinstance(terms.after, int) and (counts or terms.after >= end):
        return terms.after + 1, counts
    return end, subscription.is_durable


def _opened_memory(subscription: Subscription, log: Log) -> SubscriptionLog:
    name = subscription.terms.name or ""
    if log.path is None:
        problem = f"name {name!r}: a log in memory remembers nothing, so the subscription cannot be durable"
        raise ConfigError(problem, problems=[problem])
    memory = SubscriptionLog(log, name)
    subscription.memory = subscription.parking = memory
    if wished := memory.wished():
        subscription.requests.append(Redelivery(wished))
    return memory


def _remember_now(memory: SubscriptionLog, log: Log, start: int) -> None:
    """From now on means from this now: a crash before the first checkpoint must not make it a later one."""
    if log.mode == "rw":
        log.sync()
    durable = log.durable_seq
    at = start - 1 if durable is None else min(start - 1, durable)
    memory.advance(anchor_at(log, at) or BEFORE_THE_FIRST)
    memory.sync()


def _recalled(subscription: Subscription, log: Log, checkpoint: Anchor) -> int:
    """The place after the checkpoint; where it began counts no more."""
    subscription.since_ns = None
    return checkpoint.seq + 1 if stands(log, checkpoint) else rewind(subscription, log, checkpoint)


def rewind(subscription: Subscription, log: Log, lost: Anchor) -> int:
    """Where to go on after an event that was lost: the first of the next epoch, or the end where there is none."""
    target = first_beyond(log, lost.epoch)
    subscription.pending_messages.append(Rewound(lost.seq, target))
    subscription.was_rewound = True
    return target


def forget(subscription: Subscription) -> None:
    """The log is closed: store nothing more."""
    memory, subscription.memory = subscription.memory, None
    if memory is not None:
        memory.close()
        subscription.parking = MemoryParking()


def remember(subscription: Subscription, frontier: Frontier) -> None:
    """Store how far a durable subscription came, up to what is durable. Blocks for the log, not for the disk."""
    memory, log = subscription.memory, frontier.log
    durable = None if log is None or log.is_closed else log.durable_seq
    if memory is None or log is None or durable is None:
        return
    position = subscription.position(frontier.dispatched)
    if position > frontier.end:
        return  # it waits for a place that is still to come, and would begin before it
    passed = min(position - 1, durable)
    known = memory.checkpoint
    if subscription.was_rewound and subscription.pending_messages:
        return  # it has yet to be told
    if subscription.was_rewound and passed < 0:
        memory.advance(BEFORE_THE_FIRST)
        subscription.was_rewound = False
        return
    if passed < 0 or (known is not None and passed <= known.seq and not subscription.was_rewound):
        return
    event = event_at(log, passed)
    if event is None or (event.ts_ns or 0) < (subscription.since_ns or 0):
        return  # so too with a time that is still to come
    memory.advance(anchor_of(event))
    subscription.was_rewound = False


def tell_position(subscription: Subscription, dispatched: int) -> bool:
    """Queue a position message if the subscription has nothing to do and came on since the last; whether it did."""
    position = subscription.position(dispatched)
    if (
        subscription.terms.on_message is None
        or subscription.has_work
        or position <= subscription.told_position
    ):
        return False
    subscription.told_position = position
    subscription.pending_messages.append(Position(position - 1))
    return True


class Refiller:
    """Reads history for the subscriptions of one bus that are behind."""

    def __init__(
        self,
        config: BusConfig,
        frontier: Frontier,
        versions: EventVersionManager,
        counters: Counters,
        troubles: Troubles,
    ) -> None:
        """``frontier`` has the log, and the objects that stand for its newest events."""
        self._versions = versions
        self._batch_size, self._frontier = config.batch_size, frontier
        self._counters, self._troubles = counters, troubles

    def refill(self, subscription: Subscription) -> None:
        """Read the next batch; at the end of what was handed out the subscription is live again."""
        log, dispatched = self._frontier.log, self._frontier.dispatched
        if log is None:
            return
        if not subscription.was_behind:
            subscription.was_behind = True
            subscription.pending_messages.append(FellBehind(subscription.next_seq))
        try:
            batch = self._batch(subscription, log)
        except TruncatedError as error:
            self._lose(subscription, error)
            return
        if batch:
            for event in batch:
                subscription.waiting.add(self._frontier.shared(event))
            subscription.next_seq = (batch[-1].seq or 0) + 1
            return
        examined = getattr(subscription.reader, "position", None)
        subscription.reader = None
        if examined is not None:
            subscription.next_seq = max(subscription.next_seq, examined + 1)
        subscription.is_behind = subscription.next_seq < dispatched
        if not subscription.is_behind:
            subscription.was_behind = False
            reached = max(subscription.next_seq, dispatched) - 1
            subscription.told_position = reached + 1
            subscription.pending_messages.append(CaughtUp(reached if reached >= 0 else None))

    def _batch(self, subscription: Subscription, log: Log) -> list[Event]:
        if subscription.reader is None:
            after = subscription.next_seq - 1 if subscription.next_seq else None
            types = self._versions.stored_types(subscription.event_type)
            subscription.reader = subscription.selection.read(log, after, types, subscription.since_ns)
            if after is None and (first := log.first_seq) > 0:
                # A read that names no place begins with what is kept, and says nothing of what is not.
                raise TruncatedError(f"events before {first} are no longer kept", first_seq=first)
        return list(islice(subscription.reader, min(self._batch_size, subscription.bound)))

    def _lose(self, subscription: Subscription, error: TruncatedError) -> None:
        first = max(error.first_seq or 0, subscription.next_seq + 1)
        self._counters.events_lost += first - subscription.next_seq
        subscription.pending_messages.append(Lost(subscription.next_seq, first))
        text = f"{subscription.name} lagged until events were no longer kept"
        self._troubles.report("lost", text, error)
        subscription.next_seq, subscription.reader = first, None
