"""What is registered: schemas by type and version, the current version of each type, and the steps between versions.

Owns all three and the ways that follow from them. Knows events only by type and version. Invariants: ``version_mappings``
is the one place that says which versions a type has, whoever wrote it; a step leads from a registered version to the next,
never past one, never in a circle; a way is computed once and forgotten when anything is registered.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from aresbus.errors import IncompatibleSchemaError, SchemaConflictError, SchemaError, UpcastError
from aresbus.events import DEFAULT_VERSION, EventType, event_type_of, register_event_type
from aresbus.schema.compatibility import Compatibility, breaks, checked_rule
from aresbus.schema.declared import FieldRules, RegisteredRules, Schema, schema_of_rules
from aresbus.schema.upcasting import Step, Upcaster, Way
from aresbus.schema.versions import checked_version, version_order

__all__ = ["Registry"]

BUILT_IN = frozenset(map(str, EventType))
Node: TypeAlias = tuple[str, str]
"""Event type and schema version."""


class Registry:
    """Schemas, current versions, steps. Register at the start, before other threads publish or read."""

    version_mappings: dict[str, dict[str, FieldRules]]
    """``{version: {event_type: {"required_fields": [...], "optional_fields": [...]}}}``; may be extended directly."""
    current_versions: dict[str, str]
    """Type to the version it is published in, where that is not 1.0.0. Not to be changed: ``set_current`` does."""
    settled: dict[str, str]
    """Type to the version that is presented as it stands, where that is not 1.0.0. Not to be changed."""

    def __init__(self) -> None:
        """Nothing is registered."""
        self.version_mappings, self.current_versions, self.settled = {}, {}, {}
        self._steps: dict[Node, Step] = {}
        self._downcasts: dict[tuple[str, str, str], Step] = {}
        self._broken: dict[tuple[str, str, str], list[str]] = {}
        self._ways: dict[Node, Way] = {}

    # Schemas

    def register(
        self,
        event_type: str,
        schema: Any,
        *,
        version: str,
        compatibility: Compatibility = "BACKWARD_TRANSITIVE",
        current: bool | None = None,
    ) -> Schema:
        """Declare what data of the type looks like in this version; the text becomes an event type, if it is none.

        ``schema``: field rules ``{"required_fields": [...], "optional_fields": [...]}``, a JSON Schema (draft 2020-12)
        as a dict, a dataclass, a TypedDict, a msgspec.Struct, a pydantic model, or a :class:`Schema`.
        ``compatibility``: which schemas must read whose data; a step between two versions satisfies it, so register
        steps first. ``current``: whether the type is published in this version from now on; None: if it is the
        newest, but the built-in types stay at 1.0.0. The same schema again changes nothing but that.

        Raises SchemaConflictError for a different schema in a version that has one, IncompatibleSchemaError with every
        breaking field, UpcastError for a version inside a step, ImportError where the schema needs an extra, TypeError
        or ValueError for what is no schema, version or rule. Then nothing has changed.
        """
        rule, version, declared = checked_rule(compatibility), checked_version(version), Schema.of(schema)
        rules = RegisteredRules(declared)
        text = str(event_type)
        known = self.schema(text, version)
        if known is None:
            self._check_place(text, version)
            self._check_compatible(text, version, declared, rule)
        elif known != declared:
            raise _conflict(text, version)
        register_event_type(text)
        if not isinstance(self.version_mappings.setdefault(version, {}).get(text), RegisteredRules):
            self.version_mappings[version][text] = rules
        is_newest = self.versions(text)[-1] == version
        if current or (current is None and is_newest and text not in BUILT_IN):
            self.current_versions[text] = version
        self._changed()
        return declared

    def schema(self, event_type: str, version: str) -> Schema | None:
        """What is declared of the type in this version; None where nothing is.

        Raises SchemaError where an entry of ``version_mappings`` is no field rules.
        """
        text = str(event_type)
        rules = self.version_mappings.get(version, {}).get(text)
        try:
            return None if rules is None else schema_of_rules(rules)
        except TypeError as error:
            raise SchemaError(
                f"version_mappings[{version!r}][{text!r}]: {error}", event_type=text, problems=[str(error)]
            ) from error

    def versions(self, event_type: str) -> list[str]:
        """The versions of the type that are declared, oldest first."""
        text = str(event_type)
        return sorted(
            (version for version, types in self.version_mappings.items() if text in types), key=version_order
        )

    def declared_types(self) -> list[str]:
        """Every type of which anything is declared, in order of their texts."""
        return sorted({str(text) for types in self.version_mappings.values() for text in types})

    def current_version(self, event_type: str) -> str:
        """The version the type is published in unless its publisher says otherwise; 1.0.0 until set."""
        return self.current_versions.get(event_type, DEFAULT_VERSION)

    def set_current(self, event_type: str, version: str) -> None:
        """Publish the type in this version from now on, and present older events in it. Raises SchemaError."""
        text = str(event_type)
        known = self.versions(text)
        if version not in known:
            reason = f"declared are {', '.join(known) or 'none'}, so register {version} first"
            raise SchemaError(
                f"{text} has no schema version {version}: {reason}", event_type=text, problems=[reason]
            )
        self.current_versions[text] = version
        self._changed()

    def _check_place(self, text: str, version: str) -> None:
        """Refuse a version that is another one's twin, or that a step leads past."""
        order = version_order(version)
        for other in self.versions(text):
            if version_order(other) == order:
                raise _conflict(text, version, other)
        for step in self._steps.values():
            is_inside = version_order(step.from_version) < order < version_order(step.to_version)
            if step.event_type == text and not step.is_rename and is_inside:
                raise _chain_error(step, f"{version} would lie inside the step {step}")

    def _check_compatible(self, text: str, version: str, declared: Schema, rule: Compatibility) -> None:
        problems: dict[str, list[str]] = {}
        broken: dict[tuple[str, str, str], list[str]] = {}
        for other, is_older in self._judged(text, version, rule):
            known = self.schema(text, other) or declared
            old, new = (known, declared) if is_older else (declared, known)
            low, high = (other, version) if is_older else (version, other)
            backward = [] if self._has_step_between(text, low, high) else breaks(old, new)
            if rule in ("FORWARD", "NONE"):
                # Nobody asked that the new schema reads the old data, so reading it has to say that it cannot.
                broken |= {(text, low, high): backward} if backward else {}
                backward = []
            is_forward = rule in ("FORWARD", "FULL") and (text, high, low) not in self._downcasts
            forward = breaks(new, old) if is_forward else []
            if backward or forward:
                problems[other] = [*backward, *(f"for readers of {low}: {one}" for one in forward)]
        if problems:
            raise _incompatible(text, version, rule, problems)
        self._broken |= broken

    def _judged(self, text: str, version: str, rule: Compatibility) -> list[tuple[str, bool]]:
        """The versions to compare with, nearest first, and whether each is older."""
        order = version_order(version)
        versions = self.versions(text)
        older = [(one, True) for one in versions if version_order(one) < order][::-1]
        newer = [(one, False) for one in versions if version_order(one) > order]
        most = None if rule == "BACKWARD_TRANSITIVE" else 1
        return [*older[:most], *newer[:most]]

    def _has_step_between(self, text: str, version: str, newer: str) -> bool:
        """Whether an explicit step stands on the way: what it returns is of a later version, which is judged itself."""
        low, high = version_order(version), version_order(newer)
        return any(
            kind == text and low <= version_order(at) and version_order(step.to_version) <= high
            for (kind, at), step in self._steps.items()
        )

    # Steps

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
                raise _chain_error(step, f"{to_version} is not registered")
            if version_order(to_version) >= version_order(from_version):
                raise _chain_error(step, "a step back leads to an older version; see upcaster()")
            self._downcasts[step.event_type, from_version, to_version] = step
            self._changed()
            return function

        return registered

    def _check_step(self, step: Step) -> None:
        source, target = version_order(step.from_version), version_order(checked_version(step.to_version))
        versions = self.versions(step.event_type)
        if step.from_version not in versions:
            raise _chain_error(step, f"a gap: {step.from_version} is not registered")
        known = self._steps.get((step.event_type, step.from_version))
        if known is not None:
            raise _chain_error(step, f"there is a step from {step.from_version} already: {known}")
        if step.is_rename:
            if step.to_version not in self.versions(step.new_type):
                raise _chain_error(step, f"a gap: {step.new_type} {step.to_version} is not registered")
            if self._reaches((step.new_type, step.to_version), (step.event_type, step.from_version)):
                raise _chain_error(step, "a loop: steps lead from there back here")
            return
        if target <= source:
            raise _chain_error(step, "a loop: a step leads to a newer version; see downcaster()")
        between = [one for one in versions if source < version_order(one) < target]
        if between:
            raise _chain_error(step, f"a gap: it passes over {', '.join(between)}")

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
        return Way(tuple(steps), kind, at, is_renamed=kind != text)

    def is_known_type(self, event_type: str) -> bool:
        """Whether the type was registered, or anything is declared of it."""
        return event_type_of(event_type) is not None or bool(self.versions(event_type))

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


def _conflict(text: str, version: str, other: str | None = None) -> SchemaConflictError:
    as_other = "" if other is None or other == version else f", written {other}"
    return SchemaConflictError(
        f"{text} has a different schema in version {version}{as_other}",
        event_type=text,
        version=version,
        problems=[f"{version} is taken{as_other}"],
    )


def _incompatible(
    text: str, version: str, rule: str, problems: dict[str, list[str]]
) -> IncompatibleSchemaError:
    # The same field usually breaks against several older versions, in the same words.
    against: dict[str, list[str]] = {}
    for other, found in problems.items():
        for one in found:
            against.setdefault(one, []).append(other)
    told = [f"{one} (against {', '.join(others)})" for one, others in against.items()]
    return IncompatibleSchemaError(
        f"{text} {version} is not {rule}: {'; '.join(told)}",
        event_type=text,
        version=version,
        compatibility=rule,
        problems=told,
        against=list(problems),
    )


def _missing_step(text: str, version: str, newer: str, reasons: list[str]) -> UpcastError:
    return UpcastError(
        f"{text} cannot be brought from schema version {version} to {newer}: there is no step, and {'; '.join(reasons)}",
        event_type=text,
        problems=reasons,
        from_version=version,
        to_version=newer,
    )


def _chain_error(step: Step, reason: str) -> UpcastError:
    return UpcastError(
        f"the step {step} is refused: {reason}",
        event_type=step.event_type,
        problems=[reason],
        from_version=step.from_version,
        to_version=step.to_version,
    )
