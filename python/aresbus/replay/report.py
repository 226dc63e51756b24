"""What a replay says of itself: how far it got, what came of it, what it held back.

Owns the shape of the report and nothing else. Invariant: it holds nothing that differs between two replays that did the
same, so that comparing two reports compares two replays.
"""

from dataclasses import dataclass

__all__ = ["ReplayReport"]


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """How far a replay got and what came of it. Two replays that did the same have equal reports."""

    replayed: int
    """Events taken from the log."""
    delivered: int
    """Calls of handlers that returned."""
    failed: int
    """Calls of handlers that raised."""
    published: int
    """Events that handlers published."""
    refused: int
    """Publishes that were refused."""
    performed: dict[str, int]
    """Calls with side effects that were let through, by sink."""
    blocked: dict[str, int]
    """Calls with side effects that were held back, by sink."""
    position: int | None
    """Position of the last event taken from the log."""
    is_finished: bool
    """Whether the range is at its end."""
    digest: str
    """Of everything published."""
    input_digest: str
    """Of everything taken from the log."""
