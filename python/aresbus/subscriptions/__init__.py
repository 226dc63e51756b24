"""Subscriptions: a choice of events, a cursor on the log, terms, and what is remembered of the deliveries.

Owns the public names. How events get from the log to a subscription is delivery's business.
"""

from aresbus.places import Anchor
from aresbus.subscriptions.messages import (
    CaughtUp,
    Disconnected,
    FellBehind,
    Halted,
    Lost,
    Message,
    Position,
    Rewound,
)
from aresbus.subscriptions.parking import ParkedDelivery
from aresbus.subscriptions.selection import Selection
from aresbus.subscriptions.subscription import Callback, Subscription
from aresbus.subscriptions.terms import Terms

__all__ = [
    "Anchor",
    "Callback",
    "CaughtUp",
    "Disconnected",
    "FellBehind",
    "Halted",
    "Lost",
    "Message",
    "ParkedDelivery",
    "Position",
    "Rewound",
    "Selection",
    "Subscription",
    "Terms",
]
