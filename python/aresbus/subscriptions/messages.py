"""What a subscription is told besides its events: where it stands, and what happened to its place in the log.

Owns the messages. Knows neither bus nor log. Invariants: a message comes in its place in the order of the events, on
the loop that delivers them; none is needed for correctness, so a subscriber may ignore them all.
"""

from dataclasses import dataclass
from typing import TypeAlias

from aresbus.places import Lost

__all__ = [
    "CaughtUp",
    "Disconnected",
    "FellBehind",
    "Halted",
    "Lost",
    "Message",
    "Position",
    "Rewound",
]


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """Everything up to ``seq`` was delivered from history; from here on events come as they are appended."""

    seq: int | None


@dataclass(frozen=True, slots=True)
class FellBehind:
    """More waits than is kept as objects: from ``seq`` on events come from the log again, until CaughtUp."""

    seq: int


@dataclass(frozen=True, slots=True)
class Position:
    """Nothing up to ``seq`` matched since the last event or message: the place to resume from."""

    seq: int


@dataclass(frozen=True, slots=True)
class Rewound:
    """The event at ``from_seq``, after which the subscription stood, is no longer in the log; it goes on with ``to_seq``.

    It was lost with the power, or the directory is an older copy. Effects of lost events have to be undone.
    """

    from_seq: int
    to_seq: int


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The lag passed its bound under "disconnect": the subscription has ended before ``seq``."""

    seq: int
    lag: int


@dataclass(frozen=True, slots=True)
class Halted:
    """The subscription stands still before ``seq`` until its ``resume()``, for ``reason``."""

    seq: int
    reason: str


Message: TypeAlias = CaughtUp | FellBehind | Position | Rewound | Lost | Disconnected | Halted
"""What ``on_message`` gets."""
