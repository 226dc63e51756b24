"""Reducers: which function folds which event into the state of its aggregate, chosen by event type and category.

Owns the registry, the rule by which one function is chosen, and the fold itself. Knows no log and no snapshot.
Invariants: exactly one function folds an event, or none does; what was registered never changes under a fold that
runs in another thread; a state is a dict, so that it can be stored.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from aresbus._core import Event
from aresbus.events import EventType

__all__ = ["Folded", "Present", "Reducer", "Reducers", "as_stored", "category_of"]

Reducer: TypeAlias = Callable[[dict[str, Any], Event], dict[str, Any] | None]
"""From the state and the next event to the new state; None means: the given one, changed in place. Must be pure."""
Present: TypeAlias = Callable[[Event], Iterable[Event]]
"""From a stored event to what code of today is to see of it: upcast, or split into parts. Must be pure."""

SCOPE_MARK = "\0"
"""Stands between category and event type in a key of :meth:`Reducers.versions_of`; neither may contain it."""


def category_of(aggregate_id: str) -> str:
    """The text before the first ":" or "-": "order" of "order-17" and of "order:EU-4"; the whole id without either."""
    return aggregate_id.partition(":")[0].partition("-")[0]


def as_stored(event: Event) -> tuple[Event]:
    """The :data:`Present` that changes nothing."""
    return (event,)


class Folded(NamedTuple):
    """A state, the last stored event it holds (None: there was none), and whether a reducer knew any of them."""

    state: dict[str, Any]
    last: Event | None
    is_known: bool


@dataclass(frozen=True, slots=True)
class _Entry:
    """One registered function and its version."""

    reducer: Reducer
    version: int


def _add_trade(state: dict[str, Any], event: Event) -> None:
    state.setdefault("trades", []).append(event.data)


def _set_performance(state: dict[str, Any], event: Event) -> None:
    state["performance"] = event.data


class Reducers:
    """The reducers of a program. Registering and folding may happen in different threads.

    Of those that fit an event the most telling one folds it, alone: the reducer of its type in the category of its
    aggregate, else the reducer of the whole category, else the reducer of its type in any aggregate.
    """

    def __init__(self, *, category_of: Callable[[str], str] = category_of) -> None:
        """Begin with the built-in ones: trades are collected, the performance is the newest.

        ``category_of`` gives the category of an aggregate id; see :func:`category_of` for the default.
        """
        self.category_of: Callable[[str], str] = category_of
        """Gives the category of an aggregate id."""
        # Replaced, never changed: folds run in other threads.
        self._entries: Mapping[tuple[str | None, str | None], _Entry] = {
            (None, str(EventType.TRADE_EXECUTED)): _Entry(_add_trade, 1),
            (None, str(EventType.PERFORMANCE_UPDATE)): _Entry(_set_performance, 1),
        }

    def register(
        self,
        event_type: str | None,
        reducer: Reducer,
        version: int = 1,
        *,
        category: str | None = None,
    ) -> None:
        """Fold events of the type, of aggregates of the category, with ``reducer``; one registered before is replaced.

        ``event_type`` None: every type of the category that has no reducer of its own there. ``category`` None:
        aggregates of any category. Raising ``version`` (from 1) makes the snapshots of older reducers worthless.
        Raises TypeError for what cannot be called or is async, ValueError where neither is given, for empty text,
        and for a version below 1.
        """
        if inspect.iscoroutinefunction(reducer) or not callable(reducer):
            raise TypeError(f"a reducer is a plain function of state and event, not {reducer!r}")
        if event_type is None and category is None:
            raise ValueError("a reducer is for an event type, a category, or both; got neither")
        if version < 1:
            raise ValueError(f"a reducer's version counts from 1, got {version}")
        key = tuple(None if text is None else str(text) for text in (category, event_type))
        if any(text is not None and (not text or SCOPE_MARK in text) for text in key):
            raise ValueError("an event type or category is text of at least one character, none of them NUL")
        self._entries = {**self._entries, (key[0], key[1]): _Entry(reducer, version)}

    def versions_of(self, aggregate_id: str) -> dict[str, int]:
        """Version of each reducer that may fold events of the aggregate: a snapshot is good for the same ones only."""
        return {
            (text or "") if scope is None else f"{scope}{SCOPE_MARK}{text or ''}": entry.version
            for (scope, text), entry in self._fitting(aggregate_id).items()
        }

    def knows(self, aggregate_id: str, event_types: Iterable[str]) -> bool:
        """Whether a reducer folds any of these types of events of the aggregate."""
        texts = {text for _, text in self._fitting(aggregate_id)}
        return None in texts or not texts.isdisjoint(event_types)

    def fold(
        self,
        aggregate_id: str,
        state: dict[str, Any],
        events: Iterable[Event],
        present: Present = as_stored,
        *,
        asked: Callable[[dict[str, Any], Event], None] | None = None,
    ) -> Folded:
        """The state after the events of the aggregate, each seen as ``present`` gives it. May change ``state``.

        ``asked`` is called with the state after each event, whether a reducer knew it or not, and with the event.
        Raises what a reducer raises, with a note that names the event, and TypeError for a reducer that returns
        anything but a dict or None.
        """
        fitting = self._fitting(aggregate_id)
        whole = next((one.reducer for (_, text), one in fitting.items() if text is None), None)
        by_type = {text: entry.reducer for (_, text), entry in fitting.items() if text is not None}
        last, is_known = None, False
        try:
            for last in events:
                for event in present(last):
                    reducer = by_type.get(event.event_type, whole)
                    if reducer is not None:
                        is_known = True
                        changed = reducer(state, event)
                        if changed is not None:
                            state = _checked(changed, reducer)
                    if asked is not None:
                        asked(state, event)
        except Exception as error:
            if last is not None:
                error.add_note(f"while folding {last.event_type} at seq {last.seq} into {aggregate_id}")
            raise
        return Folded(state, last, is_known)

    def _fitting(self, aggregate_id: str) -> dict[tuple[str | None, str | None], _Entry]:
        """What may fold events of the aggregate. A whole category leaves nothing to the reducers of any category."""
        category = self.category_of(aggregate_id)
        entries = self._entries
        own = {key: entry for key, entry in entries.items() if key[0] == category}
        if (category, None) in own:
            return own
        hidden = {text for _, text in own}
        general = {key: entry for key, entry in entries.items() if key[0] is None and key[1] not in hidden}
        return general | own


def _checked(state: Any, reducer: Reducer) -> dict[str, Any]:
    if isinstance(state, dict):
        return state
    raise TypeError(
        f"a reducer returns the new state, a dict, or None; {reducer!r} returned {type(state).__name__}"
    )
