"""On which terms a subscription takes events: where it begins, what acknowledges, how often it tries, what it does about lag.

Owns the settings and their check. Knows no bus. Invariant: terms that cannot be kept are refused when the
subscription is made, all faults at once.
"""

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias, get_args

from aresbus._core import MAX_TEXT_BYTES, Event
from aresbus.errors import ConfigError
from aresbus.events import ns_of_datetime
from aresbus.subscriptions.messages import Message

__all__ = ["AckMode", "BackPressure", "OnMessage", "Terms"]

BackPressure: TypeAlias = Literal["lag", "block", "drop_oldest", "conflate", "disconnect"]
"""What happens when a subscription does not keep up; each is explained at ``bus.subscribe``."""
AckMode: TypeAlias = Literal["return", "manual"]
"""What acknowledges an event: that the callback returned, or a call of ``subscription.ack``."""
OnUnknown: TypeAlias = Literal["raw", "skip", "park", "halt"]
"""What becomes of an event whose schema version is newer than any that is registered."""
OnMessage: TypeAlias = Callable[[Message], Any]
"""Gets what is said besides events; what it returns is awaited if it can be."""

FIRST_BACK_OFF_SECONDS = 0.010
LONGEST_BACK_OFF_SECONDS = 1.0
"""A failing handler is tried again after some 10 ms, then twice as long each time, up to a second."""
ACK_TIMEOUT_SECONDS = 30.0
LAST_SEQ, LAST_NS = (1 << 64) - 1, (1 << 63) - 1


def by_aggregate(event: Event) -> Hashable:
    """The key of an event unless the subscriber names another: its aggregate; None is no key."""
    return event.aggregate_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The settings of one subscription, as ``bus.subscribe`` takes them."""

    name: str | None = None
    """Makes it durable. Its checkpoint is stored every ``processing_interval`` seconds and at stop, up to what is
    durable; ``after`` and ``since`` count only while it has none. Parked deliveries are kept with their whole event, and
    later events of the same ``key`` queue behind a parked one. One bus at a time may use a name. Where the event of its
    checkpoint is no longer in the log, ``on_message`` is told Rewound, and it goes on with what came instead."""
    after: int | Literal["start"] | None = None
    """Begin behind this position, or with the first event that is kept. One that is not there yet is waited for: what comes
    before it is not delivered."""
    since: datetime | int | None = None
    """Begin with what was appended from this time on: an aware datetime, or ns since 1970. A time to come is waited for: what
    is appended before it is not delivered."""
    on_message: OnMessage | None = None
    """Gets CaughtUp, FellBehind, Position, Rewound, Lost, Disconnected, Halted in their place among the events; sync or
    async; a failure is logged and changes nothing."""
    ack: AckMode = "return"
    """"return": an event is taken once the callback returned. "manual": once ``subscription.ack(event)`` was called; the next
    event comes after. In either mode ``subscription.nack(event, "retry" | "park" | "skip" | "halt")`` says otherwise."""
    ack_timeout: float = ACK_TIMEOUT_SECONDS
    """Seconds after which an event that nobody acknowledged has failed ("manual")."""
    max_retries: int | None = None
    """Tries after the first, then the delivery is parked; None: the bus's ``max_retry_count``. ``subscription.attempt`` and
    ``last_error`` tell the callback which try it is, and why the last one failed."""
    back_off: tuple[float, float] = (FIRST_BACK_OFF_SECONDS, LONGEST_BACK_OFF_SECONDS)
    """Seconds before the second try, and the longest wait; doubled each time, cut by up to half at random. Of a durable
    subscription the wait, and the count, survive a restart."""
    key: Callable[[Event], Hashable] = by_aggregate
    """What has to keep its order, and what conflates; of a durable subscription its text counts. None is no key."""
    back_pressure: BackPressure = "lag"
    """What happens when it does not keep up; each is counted in ``get_status()``.

    "lag": what memory does not hold is read from the log, without end. "block": awaiting a publish suspends while it lags
    more than ``max_lag`` positions, a publish in a thread without a loop waits, and a handler that would wait for
    itself gets BusStateError, the event not appended; only while the bus runs. Two whose handlers feed each other can wait
    for each other: health then names them as stuck. "drop_oldest": the newest ``max_lag`` events
    wait, older ones are dropped. "conflate": of each key the newest waits, ``max_lag`` at most. "disconnect": it ends
    when more than ``max_lag`` wait."""
    max_lag: int | None = None
    """The bound of ``back_pressure``; None: ``max_history``."""
    inline: bool = False
    """The callback, which has to be synchronous, runs inside the ``publish`` that is called on the bus's loop, before that
    returns: no task, no turn of the loop. Where an event cannot be taken there in order (published from another thread, by
    its own callback, or while an earlier one is still being tried) it comes as always. What a callback raises is no
    error of the publisher's: the event is tried again in the subscription's own turn. Not with ``name``, ``where``, ``ack``
    or ``back_pressure``."""
    unknown_versions: OnUnknown = "raw"
    """What becomes of an event whose schema version is newer than any that is registered: it comes as stored ("raw"), is
    skipped, parked, or the subscription halts."""

    @property
    def is_from_now_on(self) -> bool:
        """Whether nothing is said of where it begins."""
        return self.after is None and self.since is None

    @property
    def since_ns(self) -> int | None:
        """``since`` in ns since 1970."""
        return ns_of_datetime(self.since) if isinstance(self.since, datetime) else self.since

    def check(self, beside: Iterable[str] = ()) -> None:
        """Raise ConfigError that lists every setting that cannot be kept, and what was found ``beside`` them."""
        problems = [*beside] + [
            f"{what}: got {value!r}, takes {takes}"
            for what, value, is_fine, takes in self._judged()
            if not is_fine
        ]
        if self.inline and not (self.name is None and self.ack == "return" and self.back_pressure == "lag"):
            problems.append(
                "inline: goes with neither name, ack nor back_pressure, which need a turn of their own"
            )
        if self.after is not None and self.since is not None:
            problems.append("after and since: one of them says where it begins")
        if problems:
            raise ConfigError(f"the subscription cannot be made: {'; '.join(problems)}", problems=problems)

    def _judged(self) -> list[tuple[str, Any, bool, str]]:
        name, after, back_off = self.name, self.after, self.back_off
        return [
            ("name", name, name is None or _is_text(name), f"text of 1 to {MAX_TEXT_BYTES} bytes"),
            (
                "after",
                after,
                after in (None, "start") or _is_count(after, 0, LAST_SEQ),
                'a position from 0, or "start"',
            ),
            ("since", self.since, _is_moment(self.since), "an aware datetime or ns since 1970, until 2262"),
            (
                "on_message",
                self.on_message,
                self.on_message is None or callable(self.on_message),
                "a callable",
            ),
            ("ack", self.ack, self.ack in get_args(AckMode), '"return" or "manual"'),
            ("ack_timeout", self.ack_timeout, _is_seconds(self.ack_timeout), "seconds above 0"),
            (
                "max_retries",
                self.max_retries,
                self.max_retries is None or _is_count(self.max_retries, 0),
                "a count from 0",
            ),
            (
                "back_off",
                back_off,
                _is_back_off(back_off),
                "two numbers of seconds above 0: the first wait and the longest",
            ),
            ("key", self.key, callable(self.key), "a callable from event to key"),
            (
                "back_pressure",
                self.back_pressure,
                self.back_pressure in get_args(BackPressure),
                _listed(BackPressure),
            ),
            ("inline", self.inline, isinstance(self.inline, bool), "True or False"),
            ("max_lag", self.max_lag, self.max_lag is None or _is_count(self.max_lag, 1), "a count from 1"),
            (
                "unknown_versions",
                self.unknown_versions,
                self.unknown_versions in get_args(OnUnknown),
                _listed(OnUnknown),
            ),
        ]


def _listed(choices: Any) -> str:
    return ", ".join(f'"{one}"' for one in get_args(choices))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value.encode("utf-8", "surrogatepass")) <= MAX_TEXT_BYTES


def _is_count(value: Any, least: int, most: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _is_back_off(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_seconds, value))  # noqa: PLR2004 - first, longest


def _is_moment(value: Any) -> bool:
    if isinstance(value, datetime):
        return value.tzinfo is not None and abs(ns_of_datetime(value)) <= LAST_NS
    return value is None or _is_count(value, 0, LAST_NS)
