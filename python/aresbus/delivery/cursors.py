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
from aresbus.places import Anchor, anchor_at, end_of, stands
from aresbus.schema import EventVersionManager
from aresbus.subscriptions import CaughtUp, FellBehind, Halted, Lost, Position, Rewound, Subscription
from aresbus.subscriptions.checkpoints import SubscriptionLog
from aresbus.subscriptions.parking import MemoryParking
from aresbus.subscriptions.subscription import Redelivery
from aresbus.troubles import Troubles

__all__ = ["Refiller", "begin", "forget", "remember", "rewind", "tell_position"]

BEFORE_THE_FIRST = Anchor(0, -1, "")
"""The checkpoint of a subscription that began on an empty log."""


def begin(subscription: Subscription, log: Log) -> None:
    """Put the subscription at its place in ``log``: after its checkpoint, where its terms say, or at the end.

    Its terms count until it has begun: on an earlier opening of this log, that is. Blocks for the disk if it is
    durable. Raises LogLockedError, ConfigError, StorageError.
    """
    is_new = not subscription.has_begun
    end = end_of(log)
    subscription.waiting.clear()
    subscription.reader, subscription.current = None, None
    # What a life of before could not tell any more; a Rewound comes again where its checkpoint still is of a lost event.
    subscription.pending_messages = [
        one for one in subscription.pending_messages if isinstance(one, Lost | Halted)
    ]
    subscription.requests.clear()
    terms = subscription.terms
    start, is_from_history = end, False
    if is_new and terms.after is not None:
        start = log.first_seq if terms.after == "start" else terms.after + 1
        is_from_history = True
    elif is_new and terms.since is not None:
        start, is_from_history = log.first_seq, True
    if terms.name is not None:
        start = _recall(subscription, log, start, is_default=not is_from_history)
        is_from_history = True
    subscription.next_seq = subscription.told_position = start
    subscription.is_behind = subscription.was_behind = is_from_history


def _recall(subscription: Subscription, log: Log, start: int, *, is_default: bool) -> int:
    """The place after the checkpoint of a durable subscription; ``start`` where it has none yet."""
    name = subscription.terms.name or ""
    if log.path is None:
        problem = f"name {name!r}: a log in memory remembers nothing, so the subscription cannot be durable"
        raise ConfigError(problem, problems=[problem])
    memory = SubscriptionLog(log, name)
    subscription.memory = subscription.parking = memory
    if wished := memory.wished():
        subscription.requests.append(Redelivery(wished))
    checkpoint = memory.checkpoint
    if checkpoint is None:
        if is_default:
            # From now on means from this now: a crash before the first checkpoint must not make it a later one.
            if log.mode == "rw":
                log.sync()
            durable = log.durable_seq
            at = start - 1 if durable is None else min(start - 1, durable)
            memory.advance(anchor_at(log, at) or BEFORE_THE_FIRST)
            memory.sync()
        return start
    if stands(log, checkpoint):
        return checkpoint.seq + 1
    return rewind(subscription, log, checkpoint)


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
    passed = min(subscription.position(frontier.dispatched) - 1, durable)
    known = memory.checkpoint
    if subscription.was_rewound and subscription.pending_messages:
        return  # it has yet to be told
    if subscription.was_rewound and passed < 0:
        memory.advance(BEFORE_THE_FIRST)
        subscription.was_rewound = False
        return
    if passed < 0 or (known is not None and passed <= known.seq and not subscription.was_rewound):
        return
    anchor = anchor_at(log, passed)
    if anchor is not None:
        memory.advance(anchor)
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
            since = subscription.terms.since if subscription.memory is None else None
            types = self._versions.stored_types(subscription.event_type)
            subscription.reader = subscription.selection.read(log, after, types, since)
        return list(islice(subscription.reader, min(self._batch_size, subscription.bound)))

    def _lose(self, subscription: Subscription, error: TruncatedError) -> None:
        first = max(error.first_seq or 0, subscription.next_seq + 1)
        self._counters.events_lost += first - subscription.next_seq
        subscription.pending_messages.append(Lost(subscription.next_seq, first))
        text = f"{subscription.name} lagged until events were no longer kept"
        self._troubles.report("lost", text, error)
        subscription.next_seq, subscription.reader = first, None
