"""Which events a subscription is about: by type or prefix of types, aggregate, tags, and a predicate of the user's.

Owns the choice, in memory for live events and as the arguments of a read for stored ones, so that both choose alike. Knows
no cursor. Invariant: the predicate is the user's code, so it never runs while events are handed out, but in the
subscription's own turn, where a failure is its own.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aresbus._core import Event, EventIterator, Log

__all__ = ["Selection"]

PREFIX_MARK = "*"


@dataclass(frozen=True, slots=True)
class Selection:
    """``event_type`` is a type's text, or the beginning of several with ``*`` at its end; ``*`` alone is every type."""

    event_type: str
    aggregate_id: str | None = None
    tags: Mapping[str, str] | None = None
    where: Callable[[Event], Any] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.tags, Mapping):  # a copy: what its user does to his own changes nothing
            object.__setattr__(self, "tags", dict(self.tags))

    def problems(self) -> list[str]:
        """What is wrong with it, as ``bus.subscribe`` took it: a sentence each."""
        tags: Any = self.tags
        is_fine = tags is None or (
            isinstance(tags, Mapping) and all(_is_text(one) for pair in tags.items() for one in pair)
        )
        judged = [
            ("event_type", self.event_type, _is_text(self.event_type), "text that UTF-8 can express"),
            (
                "aggregate_id",
                self.aggregate_id,
                self.aggregate_id is None or _is_text(self.aggregate_id),
                "text that UTF-8 can express",
            ),
            ("tags", tags, is_fine, "a mapping of such text to such text"),
        ]
        return [
            f"{what}: got {value!r}, takes {takes}" for what, value, is_fine, takes in judged if not is_fine
        ]

    @staticmethod
    def is_pattern(event_type: Any) -> bool:
        """Whether the text means every type that begins with it."""
        return isinstance(event_type, str) and event_type.endswith(PREFIX_MARK)

    @property
    def is_narrow(self) -> bool:
        """Whether :meth:`fits` has something to look at."""
        return self.aggregate_id is not None or bool(self.tags)

    def names(self, event_type: str) -> bool:
        """Whether events of this type are meant."""
        mine = self.event_type
        return event_type == mine or (self.is_pattern(mine) and event_type.startswith(mine[:-1]))

    def fits(self, event: Event) -> bool:
        """Whether an event of a type that is meant has the aggregate and the tags."""
        if self.aggregate_id is not None and event.aggregate_id != self.aggregate_id:
            return False
        return not self.tags or self.tags.items() <= event.tags.items()

    def read(
        self, log: Log, after: int | None, types: Iterable[str], since: int | None = None
    ) -> EventIterator:
        """The stored events that are meant, behind ``after``; ``types`` are all whose events may be by now.

        Raises TruncatedError, CorruptionError, LogClosedError.
        """
        return log.read(after=after, since=since, types=types, aggregate_id=self.aggregate_id, tags=self.tags)


def _is_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False
