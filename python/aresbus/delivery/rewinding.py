"""A log that was cut below what was read of it: every subscription goes back to where the log goes on.

Owns what becomes of a subscription's place when a recovery found that the log ends before it (R19): after lost power, or
where the directory became an older copy. Opens nothing. Invariants: what stands is neither repeated nor passed over;
whoever was given an event that is lost is told so, before anything that came instead.
"""

from aresbus._core import Log
from aresbus.delivery.frontier import Frontier
from aresbus.places import end_of
from aresbus.subscriptions import Rewound, Subscription

__all__ = ["first_beyond", "go_back"]


def first_beyond(log: Log, epoch: int) -> int:
    """Where ``log`` goes on after that epoch: the first of the next one, or the end where there is none."""
    later = [one["first_seq"] for one in log.stats()["segments"] if one["epoch"] > epoch]
    return min([*later, end_of(log)])


def go_back(subscription: Subscription, frontier: Frontier, log: Log, cut: int) -> None:
    """Let the subscription go on in ``log``, with ``cut`` if it was beyond. Before the frontier itself goes back.

    One in the middle of a delivery ends it first; whatever it makes of that event, the next is ``cut``.
    """
    in_hand = subscription.current
    reached = subscription.position(frontier.dispatched) - 1 if in_hand is None else in_hand.seq or 0
    read = (
        subscription.next_seq if subscription.is_behind else max(frontier.dispatched, subscription.next_seq)
    )
    subscription.reader = None
    if subscription.memory is not None:
        subscription.memory.look_in(log)
    if read <= cut:
        return
    subscription.waiting.let_go_from(cut)
    subscription.next_seq, subscription.is_behind = cut, True
    subscription.told_position = min(subscription.told_position, cut)
    if reached >= cut:
        subscription.pending_messages.append(Rewound(reached, cut))
        subscription.was_rewound = subscription.was_behind = True
        if subscription.busy_since is None:
            subscription.current = None
