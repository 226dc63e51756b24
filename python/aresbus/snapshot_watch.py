"""Asking a policy's predicate after each event of an aggregate, in the state that holds it.

Owns the states that are folded along for this, the newest few of them. Decides nothing and stores nothing. Invariant: what
is folded here is asked about and thrown away; a snapshot is always made from a rebuild of its own.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from aresbus._core import Event, Log
from aresbus.places import Anchor, anchor_of, stands
from aresbus.rebuilding import Recipe, Target, rebuild_to
from aresbus.snapshot_policies import Span, When

__all__ = ["Watch"]

STATES_KEPT = 1_000
"""States folded along at once; one more, and the one that was asked about longest ago is rebuilt when it is needed."""


@dataclass(slots=True)
class _Followed:
    state: dict[str, Any]
    anchor: Anchor
    made_by: tuple[dict[str, int], dict[str, str]]


class Watch:
    """Follows aggregates of one log. One call at a time; any thread. Runs the user's code."""

    def __init__(self) -> None:
        """Follows nothing yet."""
        self._followed: OrderedDict[str, _Followed] = OrderedDict()

    def newest_hit(self, log: Log, aggregate_id: str, unseen: Span, when: When, recipe: Recipe) -> int | None:
        """Position of the newest of the unseen events after which ``when`` holds. Raises what it and a fold raise."""
        made_by = (recipe.reducers.versions_of(aggregate_id), dict(recipe.schemas))
        # Taken out: a fold that fails half-way leaves a state that is of no place.
        followed = self._followed.pop(aggregate_id, None)
        if followed is not None and followed.made_by == made_by and stands(log, followed.anchor):
            state, after = followed.state, followed.anchor.seq
        elif unseen.first == 0:
            state, after = {}, None
        else:
            rebuilt = rebuild_to(log, aggregate_id, recipe, Target(seq=unseen.first - 1))
            state, after = rebuilt.state, unseen.first - 1
        hit: int | None = None

        def ask(state: dict[str, Any], event: Event) -> None:
            nonlocal hit
            if when(state, event):
                hit = event.seq

        events = log.read(after=after, up_to=unseen.newest, aggregate_id=aggregate_id)
        folded = recipe.reducers.fold(aggregate_id, state, events, recipe.present, asked=ask)
        if folded.last is not None:
            self._followed[aggregate_id] = _Followed(folded.state, anchor_of(folded.last), made_by)
            if len(self._followed) > STATES_KEPT:
                self._followed.popitem(last=False)
        return hit
