"""What is registered: a schema for a type in a version, checked against the versions around it, and the current version.

Owns what may be registered beside what. Knows events only by type and version. Invariants: a version means one schema for
ever; a refused registration leaves nothing behind; every breaking field is named.
"""

from collections.abc import Callable
from typing import Any

from aresbus.errors import IncompatibleSchemaError, SchemaConflictError, SchemaError
from aresbus.events import EventType, register_event_type
from aresbus.schema.chains import Chains, chain_error
from aresbus.schema.compatibility import Compatibility, breaks, checked_rule
from aresbus.schema.declared import RegisteredRules, Schema
from aresbus.schema.versions import checked_version, version_order

__all__ = ["Registry"]

BUILT_IN = frozenset(map(str, EventType))


class Registry(Chains):
    """Schemas, current versions, steps. Register at the start, before other threads publish or read."""

    recorder: Callable[[str, str, Schema], object] | None = None
    """Records a new schema of a type and version before it counts; what it raises refuses the registration."""

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
        breaking field, UpcastError for a version inside a step, StorageError where it cannot be recorded, ImportError where the schema needs an extra, TypeError
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
        if self.recorder is not None:
            self.recorder(text, version, declared)
        register_event_type(text)
        if not isinstance(self.version_mappings.setdefault(version, {}).get(text), RegisteredRules):
            self.version_mappings[version][text] = rules
        is_newest = self.versions(text)[-1] == version
        if current or (current is None and is_newest and text not in BUILT_IN):
            self.current_versions[text] = version
        self._changed()
        return declared

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
                raise chain_error(step, f"{version} would lie inside the step {step}")

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
