"""Who is subscribed, and who of them wants an event.

Owns the active subscriptions of a bus, by what they subscribed to. Knows no log and no handler. Invariants: it may change
from any thread while the loop walks it, since what is walked is never changed but replaced; order is that of
subscribing, so that two runs deliver alike.
"""

import threading

from aresbus._core import Event
from aresbus.schema import EventVersionManager
from aresbus.subscriptions import Subscription

__all__ = ["Roster"]


class Roster:
    """The subscriptions of one bus. From any thread."""

    def __init__(self, versions: EventVersionManager) -> None:
        """Empty; ``versions`` knows which stored types become another as they are read."""
        self._versions = versions
        self.by_type: dict[str, list[Subscription]] = {}
        """By type, or pattern of types."""
        self.blocking: tuple[Subscription, ...] = ()
        """Those that block publishers: of nearly every bus none, which then pays one look at this tuple per publish."""
        self.inline: tuple[Subscription, ...] = ()
        """Those whose callbacks run inside a publish; as with ``blocking`` a bus without any pays one look."""
        self._matching: dict[str, tuple[Subscription, ...]] = {}
        self._changing = threading.Lock()

    def all(self) -> list[Subscription]:
        """All active ones."""
        return [one for several in self.by_type.values() for one in several]

    def add(self, made: Subscription) -> None:
        """Enter a subscription."""
        text = made.event_type
        with self._changing:
            self._replace({**self.by_type, text: [*self.by_type.get(text, ()), made]})

    def remove(self, gone: Subscription) -> None:
        """Strike a subscription. Idempotent."""
        with self._changing:
            kept = {
                event_type: [one for one in several if one is not gone]
                for event_type, several in self.by_type.items()
            }
            self._replace({event_type: several for event_type, several in kept.items() if several})

    def matching(self, event_type: str) -> tuple[Subscription, ...]:
        """Who is subscribed to the type, whatever else they ask of an event."""
        matching = self._matching
        found = matching.get(event_type)
        if found is None:
            found = tuple(one for one in self.all() if self._is_meant(one, event_type))
            matching[event_type] = found
        return found

    def _is_meant(self, one: Subscription, event_type: str) -> bool:
        """Whether the subscription means the type, or one that its older events have become."""
        return one.selection.names(event_type) or event_type in self._versions.stored_types(one.event_type)

    def wanting(self, event: Event) -> list[Subscription]:
        """Who selects the event."""
        matching = self.matching(event.event_type)
        return [one for one in matching if not one.is_narrow or one.fits(event)]

    def _replace(self, by_type: dict[str, list[Subscription]]) -> None:
        self.by_type = by_type
        self._matching = {}
        self.blocking = tuple(one for one in self.all() if one.terms.back_pressure == "block")
        self.inline = tuple(one for one in self.all() if one.is_inline)
