"""The tree of one conversation: which event caused which, and how long each hop took.

Owns how events of one correlation id become a tree, its text and its form for JSON. Reads a log, changes nothing.
Invariants: every event of the conversation stands in the tree once; a cause stands before its effect in the log, so no
data, however hostile, makes a cycle; time and memory are linear in the conversation, and nothing recurses.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from aresbus._core import Event, Log
from aresbus.readable import duration, printable, time_text

__all__ = ["Node", "Origin", "Trace", "trace"]

Origin: TypeAlias = Literal["caused", "begun", "outside", "later"]
"""How an event came into its conversation: ``caused`` by an event in it; ``begun``, no cause was given; ``outside``, its
cause is no event of the conversation, or no longer kept; ``later``, it names as its cause itself or an event that stands
behind it in the log."""

SHOWN_LEVELS = 20
"""Deeper lines begin with their depth instead of ever more rules, so that the text of a long chain stays linear."""


@dataclass(slots=True, eq=False)
class Node:
    """One event in the tree. All but ``caused`` ones are roots."""

    event: Event
    origin: Origin
    cause_seq: int | None
    """Position of the event that caused this one; None for a root."""
    hop_ns: int | None
    """From the append of the cause to the append of this event; negative if the clock stepped back; None for a root."""
    depth: int
    """How many causes stand above it; 0 for a root."""
    children: list["Node"] = field(default_factory=list, repr=False)
    """What this event caused, in the order of the log."""


@dataclass(slots=True, eq=False)
class Trace:
    """One conversation as a tree. Empty, and false, where the log knows no event of it."""

    correlation_id: str
    roots: list[Node] = field(repr=False)
    """The events without a cause in the conversation, in the order of the log."""
    event_count: int
    begun_ns: int | None
    """The earliest append, ns since 1970 UTC; None for an empty trace."""
    total_ns: int
    """From the earliest append to the latest."""

    def __len__(self) -> int:
        """How many events the conversation has."""
        return self.event_count

    def walk(self) -> Iterator[Node]:
        """Every node, each before what it caused, siblings in the order of the log."""
        waiting = self.roots[::-1]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += reversed(node.children)

    def text(self) -> str:
        """The tree for people, an event a line: hop time, type, position, source, aggregate. No final line break."""
        lines = [self._head()]
        waiting = [(node, "", "", "") for node in reversed(self.roots)]
        while waiting:
            node, above, branch, below = waiting.pop()
            lead = above if node.depth <= SHOWN_LEVELS else f"[{node.depth}] "
            lines.append(f"{lead}{branch}{_line(node, self.begun_ns or 0)}")
            inside = above + below if node.depth < SHOWN_LEVELS else ""
            last = node.children[-1:]
            waiting += [
                (child, inside, "└─ ", "   ") if child in last else (child, inside, "├─ ", "│  ")
                for child in reversed(node.children)
            ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON: ``events`` is flat, each before what it caused; ``cause_seq`` makes the tree."""
        return {
            "correlation_id": self.correlation_id,
            "event_count": self.event_count,
            "begun_ns": self.begun_ns,
            "total_ns": self.total_ns,
            "roots": [node.event.seq for node in self.roots],
            "events": [_plain(node) for node in self.walk()],
        }

    def _head(self) -> str:
        noun = "event" if self.event_count == 1 else "events"
        began = (
            "" if self.begun_ns is None else f" in {duration(self.total_ns)} from {time_text(self.begun_ns)}"
        )
        return printable(f"{self.correlation_id}: {self.event_count:,} {noun}{began}")


def trace(log: Log, correlation_id: str) -> Trace:
    """The conversation ``correlation_id`` as the log has it now: who caused what, and the time each hop took.

    The event that began a conversation without naming one belongs to it too: its own id is the conversation's. An id
    that no event has gives an empty trace. Blocks for the disk; any thread. Raises CorruptionError, LogClosedError;
    TypeError unless the id is text.
    """
    if not isinstance(correlation_id, str):
        raise TypeError(f"a correlation id is text, not {type(correlation_id).__name__}")
    roots: list[Node] = []
    known: dict[str, Node] = {}
    unplaced: list[Node] = []
    count, earliest, latest = 0, None, 0
    for event in events_of(log, correlation_id):
        at = event.ts_ns or 0
        earliest = at if earliest is None else min(earliest, at)
        latest = max(latest, at) if count else at
        count += 1
        node = _placed(event, known, roots, unplaced)
        # Of events that share an id, which no bus makes, the newest stands for it: it is the nearest cause.
        known[event.event_id] = node
    for node in unplaced:
        if node.event.causation_id in known:
            node.origin = "later"
    return Trace(correlation_id, roots, count, earliest, 0 if earliest is None else latest - earliest)


def events_of(log: Log, correlation_id: str) -> Iterator[Event]:
    """The events of one conversation, in the order of the log, the one that began it unnamed among them."""
    named = list(log.read(correlation_id=correlation_id))
    # One that names no conversation begins its own: what it causes has its id as correlation id, and comes after it.
    if not named or any(one.causation_id == correlation_id for one in named):
        yield from _unnamed_root(log, correlation_id, named[0].seq if named else None)
    yield from named


def _unnamed_root(log: Log, event_id: str, before: int | None) -> Iterator[Event]:
    """The event that began the conversation without naming it, from the nearest place backward."""
    if before == 0:
        return
    for event in log.read(up_to=None if before is None else before - 1, direction="backward"):
        if event.event_id == event_id:
            if event.correlation_id is None:
                yield event
            return


def _placed(event: Event, known: dict[str, Node], roots: list[Node], unplaced: list[Node]) -> Node:
    cause_id = event.causation_id
    cause = None if cause_id is None else known.get(cause_id)
    if cause is not None:
        hop_ns = (event.ts_ns or 0) - (cause.event.ts_ns or 0)
        node = Node(event, "caused", cause.event.seq, hop_ns, cause.depth + 1)
        cause.children.append(node)
        return node
    node = Node(event, "begun" if cause_id is None else "outside", None, None, 0)
    roots.append(node)
    if cause_id is not None:
        unplaced.append(node)
    return node


def _line(node: Node, begun_ns: int) -> str:
    event = node.event
    if node.hop_ns is None:
        since = (event.ts_ns or 0) - begun_ns
        time = f"{duration(since)} in" if since else "begin"
    else:
        time = f"{'+' if node.hop_ns >= 0 else ''}{duration(node.hop_ns)}"
    place = f"{event.aggregate_id}@{event.aggregate_version}" if event.aggregate_id else ""
    parts = [time, str(event.event_type), f"seq {event.seq}", event.source, place, _remark(node)]
    return printable("  ".join(part for part in parts if part))


def _remark(node: Node) -> str:
    cause = node.event.causation_id
    if node.origin == "outside":
        return f"(caused by {cause}, which is no event of this conversation)"
    if node.origin == "later":
        which = "itself" if cause == node.event.event_id else f"{cause}, which stands behind it"
        return f"(names as its cause {which})"
    return ""


def _plain(node: Node) -> dict[str, Any]:
    event = node.event
    return {
        "seq": event.seq,
        "event_id": event.event_id,
        "event_type": str(event.event_type),
        "source": event.source,
        "aggregate_id": event.aggregate_id,
        "aggregate_version": event.aggregate_version,
        "causation_id": event.causation_id,
        "ts_ns": event.ts_ns,
        "origin": node.origin,
        "cause_seq": node.cause_seq,
        "hop_ns": node.hop_ns,
        "depth": node.depth,
    }
