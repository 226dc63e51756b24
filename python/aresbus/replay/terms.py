"""Which terms of a live subscription mean nothing in a replay, and why.

Owns the refusal. Invariant: a term that would change nothing is refused instead of ignored, unless it says what the replay does
anyhow.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from aresbus.errors import ConfigError
from aresbus.subscriptions import Terms

__all__ = ["refuse_terms"]

NO_LAG = "each event is handled to its end before the next, so nobody lags in a replay"
NO_RETRY = "a replay tries once: with retries two replays of one failure would differ"
ON_RETURN = "in a replay an event is taken once its handler returned"
RANGE = "where a replay begins is said to the replay, for all its handlers"
WHY: dict[str, str] = {
    "name": "a replay stores no checkpoint and parks nothing, so nothing of it is durable",
    "after": RANGE,
    "since": RANGE,
    "on_message": "a replay has nothing to say besides its events",
    "ack": ON_RETURN,
    "ack_timeout": ON_RETURN,
    "max_retries": NO_RETRY,
    "back_off": NO_RETRY,
    "key": "a replay parks and conflates nothing, so no key holds anything up",
    "back_pressure": NO_LAG,
    "max_lag": NO_LAG,
    "unknown_versions": "in what form events come is said to the replay, for all its handlers: present",
}


def refuse_terms(given: Mapping[str, Any], beside: Iterable[str] = ()) -> None:
    """Raise ConfigError that says of each of these terms why a replay cannot keep it, and what was found ``beside`` them.

    TypeError for what is no term.
    """
    defaults = {one.name: one.default for one in fields(Terms)}
    for name in given:
        if name not in defaults:
            raise TypeError(f"subscribe() got an unexpected keyword argument {name!r}")
    problems = [*beside] + [
        f"{name}: got {value!r}: {WHY[name]}"
        for name, value in given.items()
        if value is not defaults[name] and value != defaults[name]
    ]
    if problems:
        raise ConfigError(f"the replay cannot subscribe so: {'; '.join(problems)}", problems=problems)
