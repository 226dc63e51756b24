"""The steps between versions, in chains without gaps and loops, and the ways that follow from them.

Owns the registered steps, up and back, and what may be one. Knows which versions there are, and no compatibility rule.
Invariants: a step leads from a registered version to the next, never past one, never in a circle; a way is computed once
and forgotten when anything is registered.
"""

from collections.abc import Callable
from typing import TypeAlias

from aresbus.errors import UpcastError
from aresbus.schema.table import SchemaTable
from aresbus.schema.upcasting import Step, Upcaster, Way
from aresbus.schema.versions import checked_version, version_order

__all__ = ["Chains", "chain_error"]

Node: TypeAlias = tuple[str, str]
"""Event type and schema version."""


class Chains(SchemaTable):
    """Steps, and the way of each event to its current form."""

    settled: dict[str, str]
    """Type to the version that is presented as it stands, where that is not 1.0.0. Not to be changed."""

    def __init__(self) -> None:
        """There is no step."""
        super().__init__()
        self.settled = {}
        self._steps: dict[Node, Step] = {}
        self._downcasts: dict[tuple[str, str, str], Step] = {}
        self._broken: dict[tuple[str, str, str], list[str]] = {}
        self._ways: dict[Node, Way] = {}

    def upcaster(
        self, event_type: str, from_version: str, to_version: str, *, new_type: str | None = None
    ) -> Callable[[Upcaster], Upcaster]:
        """Decorate the step that makes data of ``to_version`` from data of ``from_version``, the registered one before.

        It gets a copy of the data, and the event's metadata if it has a second parameter, and returns the new data; a
        list of several splits the event into parts. ``new_type`` renames the type as well. Pure, and never async.

        Raises UpcastError for a gap (an unregistered version, or one that would be passed over), a loop, or a second
        step from the same version; TypeError for a function of another shape.
        """

        def registered(function: Upcaster) -> Upcaster:
            step = Step.of(event_type, from_version, to_version, function, new_type)
            self._check_step(step)
            self._steps[step.event_type, from_version] = step
            self._changed()
            return function

        return registered

    def downcaster(
        self, event_type: str, from_version: str, to_version: str
    ) -> Callable[[Upcaster], Upcaster]:
        """Decorate the step back: for readers whose current version is ``to_version`` and that meet ``from_version``.

        ``from_version`` need not be registered. As for an upcaster in all else. Raises UpcastError unless it leads to
        an older, registered version.
        """

        def registered(function: Upcaster) -> Upcaster:
            step = Step.of(event_type, checked_version(from_version), to_version, function, None)
            if to_version not in self.versions(step.event_type):
                raise chain_error(step, f"{to_version} is not registered")
            if version_order(to_version) >= version_order(from_version):
                raise chain_error(step, "a step back leads to an older version; see upcaster()")
            self._downcasts[step.event_type, from_version, to_version] = step
            self._changed()
            return function

        return registered

    def _check_step(self, step: Step) -> None:
        source, target = version_order(step.from_version), version_order(checked_version(step.to_version))
        versions = self.versions(step.event_type)
        if step.from_version not in versions:
            raise chain_error(step, f"a gap: {step.from_version} is not registered")
        known = self._steps.get((step.event_type, step.from_version))
        if known is not None:
            raise chain_error(step, f"there is a step from {step.from_version} already: {known}")
        if step.is_rename:
            if step.to_version not in self.versions(step.new_type):
                raise chain_error(step, f"a gap: {step.new_type} {step.to_version} is not registered")
            if self._reaches((step.new_type, step.to_version), (step.event_type, step.from_version)):
                raise chain_error(step, "a loop: steps lead from there back here")
            return
        if target <= source:
            raise chain_error(step, "a loop: a step leads to a newer version; see downcaster()")
        between = [one for one in versions if source < version_order(one) < target]
        if between:
            raise chain_error(step, f"a gap: it passes over {', '.join(between)}")

    def _reaches(self, node: Node, goal: Node) -> bool:
        """Whether the steps and the plain rise of versions lead from ``node`` to ``goal``. Ends: there is no loop yet."""
        while node != goal:
            step = self._steps.get(node)
            if step is not None:
                node = (step.new_type, step.to_version)
                continue
            newer = [one for one in self.versions(node[0]) if version_order(one) > version_order(node[1])]
            if not newer:
                return False
            node = (node[0], newer[0])
        return True

    # Ways

    def stored_types(self, event_type: str) -> list[str]:
        """The type, and every type that steps rename to it: what to read to see all of its events.

        As in ``read_as_current(log.read(types=manager.stored_types("fill")))``; a renamed type may also hold events
        that end as another one.
        """
        found = [str(event_type)]
        for text in found:  # grows while it is walked: a renamed type may have been renamed before
            renames = [step.event_type for step in self._steps.values() if step.new_type == text]
            found += [one for one in dict.fromkeys(renames) if one not in found]
        return found

    def way(self, event_type: str, version: str) -> Way | None:
        """What brings an event of this type and version to its current form; None where the version is unknown.

        A type of which nothing is declared has no versions to know: it stays as it is. Raises UpcastError where a
        version was registered as incompatible with the one before and there is no step.
        """
        node = (event_type, version)
        found = self._ways.get(node)
        if found is None:
            text = str(event_type)
            found = self._made_way(text, version)
            if found is not None:
                self._ways[text, version] = found
        return found

    def _made_way(self, text: str, version: str) -> Way | None:
        current = self.current_version(text)
        downcast = self._downcasts.get((text, version, current))
        if downcast is not None:
            return Way((downcast,), text, current)
        versions = self.versions(text)
        if versions and version not in versions and version != current:
            return None
        return self.way_to(text, version, self.current_version)

    def way_to(self, text: str, version: str, goal_of: Callable[[str], str]) -> Way:
        """The way up to ``goal_of(type)``, asked anew after a rename. Raises UpcastError as ``way``."""
        steps: list[Step] = []
        at, kind = version, text
        while True:
            step = self._steps.get((kind, at))
            if step is not None and version_order(step.to_version) <= version_order(goal_of(step.new_type)):
                steps.append(step)
                at, kind = step.to_version, step.new_type
                continue
            goal = goal_of(kind)
            low, high = version_order(at), version_order(goal)
            if high <= low:
                break
            following = next((one for one in self.versions(kind) if low < version_order(one) <= high), goal)
            if (kind, at, following) in self._broken:
                raise _missing_step(kind, at, following, self._broken[kind, at, following])
            at = following
        return Way(steps, kind, at)

    def _has_step_between(self, text: str, version: str, newer: str) -> bool:
        """Whether an explicit step stands on the way: what it returns is of a later version, which is judged itself."""
        low, high = version_order(version), version_order(newer)
        return any(
            kind == text and low <= version_order(at) and version_order(step.to_version) <= high
            for (kind, at), step in self._steps.items()
        )

    def _changed(self) -> None:
        """Forget the ways, and settle anew which events are presented as they stand."""
        self._ways.clear()
        for text in {*self.current_versions, *(kind for kind, _ in self._steps)}:
            current = self.current_version(text)
            step = self._steps.get((text, current))
            # No event has the empty version: one whose type was renamed is always looked at.
            self.settled[text] = "" if step is not None and self._is_due(step) else current

    def _is_due(self, step: Step) -> bool:
        """Whether the step leads to nothing newer than what its type is published in."""
        return version_order(step.to_version) <= version_order(self.current_version(step.new_type))


def _missing_step(text: str, version: str, newer: str, reasons: list[str]) -> UpcastError:
    return UpcastError(
        f"{text} cannot be brought from schema version {version} to {newer}: there is no step, and {'; '.join(reasons)}",
        event_type=text,
        problems=reasons,
        from_version=version,
        to_version=newer,
    )


def chain_error(step: Step, reason: str) -> UpcastError:
    """The error of a step that would make a gap or a loop."""
    return UpcastError(
        f"the step {step} is refused: {reason}",
        event_type=step.event_type,
        problems=[reason],
        from_version=step.from_version,
        to_version=step.to_version,
    )
