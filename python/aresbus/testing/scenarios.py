"""Given these events, when this is done, then those events follow: tests of decisions and folds, without a log.

Owns the three steps and the messages of failing ones. Runs the very code that repositories and rebuilds run.
Invariants: what is compared is what would be stored, so that a Decimal equals its text; a failing comparison shows
both sides line by line.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self, TypeAlias

import orjson

from aresbus.aggregates import Aggregate, PendingEvent
from aresbus.events import Event, EventMetadata, plain_json
from aresbus.reducers import Present, Reducer, Reducers, as_stored

__all__ = ["AnyEvent", "Given", "Outcome", "given"]

AnyEvent: TypeAlias = Event | PendingEvent | tuple[str, Any]
"""An event, or its type and data."""
Folding: TypeAlias = type[Aggregate] | Reducers | Reducer
"""What makes a state of events: a class of aggregates, a set of reducers, or one function for every type."""

AGGREGATE_ID = "aggregate-1"


def given(
    *events: AnyEvent,
    of: Folding | None = None,
    aggregate_id: str = AGGREGATE_ID,
    present: Present = as_stored,
) -> "Given":
    """Begin with these events of one aggregate, which ``of`` folds, each presented by ``present`` first.

    Without ``of`` there is no state, and :meth:`Given.when` calls its function with each event: for upcasters.
    Raises TypeError for what is no event, and what folding raises.
    """
    return Given(events, of, aggregate_id, present)


class Given:
    """The past of one aggregate, folded."""

    def __init__(
        self, events: Iterable[AnyEvent], of: Folding | None, aggregate_id: str, present: Present
    ) -> None:
        """As :func:`given`."""
        self._events = [_stored(one, aggregate_id) for one in events]
        self._of, self._aggregate_id, self._present = of, aggregate_id, present
        self._folded()  # for what it raises

    def _folded(self) -> Any:
        """The aggregate, the state, or None."""
        of, name = self._of, self._aggregate_id
        if of is None:
            return None
        if isinstance(of, type):
            aggregate = of(name)
            aggregate._replay(self._events, self._present)  # noqa: SLF001 - as a repository does
            if self._events and aggregate.version is None:
                aggregate._saved(len(self._events) - 1)  # noqa: SLF001 - made events carry no version
            return aggregate
        reducers = of if isinstance(of, Reducers) else _reducers(of, self._events, self._present)
        return reducers.fold(name, {}, self._events, self._present).state

    def when(self, command: Callable[..., Any], *arguments: Any, **keywords: Any) -> "Outcome":
        """Call ``command(aggregate, ...)``, or ``command(state, ...)``, or without ``of`` ``command(event, ...)``.

        What follows is what the aggregate emits; else the event or events that the command returns. What it raises
        is kept for :meth:`Outcome.then_raises`.
        """
        subject = self._folded()
        try:
            if self._of is None:
                answers = [command(event, *arguments, **keywords) for event in self._events]
                emitted = [one for answer in answers for one in _listed(answer)]
            elif isinstance(subject, Aggregate):
                command(subject, *arguments, **keywords)
                emitted = list(subject.pending)
            else:
                emitted = _listed(command(subject, *arguments, **keywords))
        except Exception as error:  # noqa: BLE001 - for then_raises
            return Outcome(subject, [], error)
        return Outcome(subject, emitted, None)

    def then_state(self, state: Mapping[str, Any] | None = None, /, **values: Any) -> Self:
        """As :meth:`Outcome.then_state`, of the events given."""
        _compare_state(self._folded(), state, values)
        return self


class Outcome:
    """What a command did. The assertions may follow one another."""

    def __init__(self, subject: Any, events: list[AnyEvent], error: Exception | None) -> None:
        """Of the aggregate or state ``subject``."""
        self.events: list[AnyEvent] = events
        """What was decided."""
        self.error: Exception | None = error
        """What the command raised."""
        self._subject = subject

    def then(self, *events: AnyEvent) -> Self:
        """Exactly these events were decided, in this order; none: nothing was.

        Of ``(type, data)`` these two are compared; of an :class:`Event` tags and schema version too. Raises
        AssertionError.
        """
        self._check_not_raised()
        expected = [_facts(one, one) for one in events]
        # What the expectation leaves open is not compared.
        got = [_facts(one, events[at] if at < len(events) else one) for at, one in enumerate(self.events)]
        _compare("the events decided are not those expected", expected, got)
        return self

    def then_raises(self, kind: type[Exception], match: str | None = None) -> Self:
        """The command raised an error of the kind, whose text holds the regular expression ``match``.

        Raises AssertionError, from another error where there was one.
        """
        if self.error is None:
            raise AssertionError(
                f"{kind.__name__} was expected, and these events were decided:\n{_pretty(list(map(_facts, self.events)))}"
            )
        if not isinstance(self.error, kind):
            message = f"{kind.__name__} was expected, got {self.error!r}"
            raise AssertionError(message) from self.error  # noqa: TRY004 - it is a test that fails
        if match is not None and not re.search(match, str(self.error)):
            raise AssertionError(
                f"the error says {str(self.error)!r}, nothing like {match!r}"
            ) from self.error
        return self

    def then_state(self, state: Mapping[str, Any] | None = None, /, **values: Any) -> Self:
        """The state is ``state``, and each of ``values`` is in it. An aggregate's is what its ``state()`` gives.

        Raises AssertionError; TypeError where there is no state.
        """
        self._check_not_raised()
        _compare_state(self._subject, state, values)
        return self

    def _check_not_raised(self) -> None:
        if self.error is not None:
            raise AssertionError(f"the command raised {self.error!r}") from self.error


def _reducers(reducer: Reducer, events: Iterable[Event], present: Present) -> Reducers:
    reducers = Reducers()
    for text in {str(part.event_type) for event in events for part in present(event)}:
        reducers.register(text, reducer)
    return reducers


def _stored(event: Any, aggregate_id: str) -> Event:
    """The event as a log would give it back, but for its position."""
    match event:
        case Event():
            return event
        case PendingEvent():
            text, data = event.event_type, event.data
        case (str() as text, data):
            pass
        case _:
            raise TypeError(f"an event is an Event, or its type and data; got {event!r}")
    return Event(str(text), plain_json(data), EventMetadata(aggregate_id=aggregate_id))


def _listed(answer: Any) -> list[AnyEvent]:
    if answer is None:
        return []
    is_one = isinstance(answer, Event | PendingEvent) or (
        isinstance(answer, tuple) and isinstance(answer[0], str)
    )
    return [answer] if is_one else list(answer)


def _facts(event: AnyEvent, like: AnyEvent = ("", None)) -> dict[str, Any]:
    """What is compared of an event where ``like`` is expected."""
    if isinstance(event, tuple):
        return {"type": str(event[0]), "data": plain_json(event[1])}
    facts = {"type": str(event.event_type), "data": plain_json(event.data)}
    if isinstance(like, Event):
        facts |= {"tags": dict(event.tags), "schema_version": event.schema_version or like.schema_version}
    return facts


def _compare_state(subject: Any, state: Mapping[str, Any] | None, values: Mapping[str, Any]) -> None:
    if subject is None:
        raise TypeError("there is no state: given(..., of=...) names what folds the events")
    got = plain_json(subject.state() if isinstance(subject, Aggregate) else subject)
    if state is not None:
        _compare("the state is not the one expected", plain_json(dict(state)), got)
    picked = {name: got[name] for name in values if name in got}
    _compare("the state does not hold what was expected", plain_json(dict(values)), picked)


def _compare(what: str, expected: Any, got: Any) -> None:
    if expected != got:
        lines = difflib.unified_diff(
            _pretty(expected).splitlines(), _pretty(got).splitlines(), "expected", "got", lineterm="", n=1_000
        )
        raise AssertionError("\n".join([f"{what}:", *lines]))


def _pretty(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()
