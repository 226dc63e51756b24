"""Steps from one schema version of an event type to the next, and what it takes to walk them.

Owns a step, a way (steps in a row), and the application of a way to data. Knows no schema, no registry and no log.
Invariants: a step works on a copy, so the stored data stays as it is; a step that fails, or returns what is no data, is an
UpcastError that names type, versions, position and cause; the parts of a split never share what a later step may change.
"""

import copy
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from aresbus._core import Event
from aresbus._typing import override
from aresbus.errors import UpcastError

__all__ = ["Data", "Step", "Upcaster", "Way", "upcast_error"]

Data: TypeAlias = dict[str, Any]
Upcaster: TypeAlias = Callable[..., Data | list[Data]]
"""``step(data)`` or ``step(data, metadata)``: from a copy of the data, and the metadata it came with, to the data of the
next version; a list of several splits the event. Pure: the same data gives the same result, on every read."""
TAKES_METADATA = 2
"""Positional parameters of a step that wants the metadata too."""


@dataclass(frozen=True, slots=True)
class Step:
    """One registered step."""

    event_type: str
    from_version: str
    to_version: str
    function: Upcaster
    new_type: str
    """The type afterwards; the same one but for a rename."""
    takes_metadata: bool

    @classmethod
    def of(
        cls, event_type: str, from_version: str, to_version: str, function: Upcaster, new_type: str | None
    ) -> "Step":
        """Raises TypeError for a function that takes neither the data nor data and metadata, or is async."""
        if not callable(function):
            raise TypeError(f"a step is a function of the data, not {type(function).__name__}")
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"{_name(function)} is async; a step is a plain function of the data")
        wants = _parameter_count(function)
        renamed = str(new_type or event_type)
        return cls(str(event_type), from_version, to_version, function, renamed, wants == TAKES_METADATA)

    @property
    def is_rename(self) -> bool:
        """Whether the type changes."""
        return self.new_type != self.event_type

    @override
    def __str__(self) -> str:
        """Like ``trade 1.0.0 → 1.1.0 (add_order_id)``."""
        target = f"{self.new_type} {self.to_version}" if self.is_rename else self.to_version
        return f"{self.event_type} {self.from_version} → {target} ({_name(self.function)})"


class Way:
    """What brings data of one type and version to another: steps, the type and version it then has. Immutable."""

    __slots__ = ("event_type", "is_rename", "steps", "takes_metadata", "version")

    def __init__(self, steps: Iterable[Step], event_type: str, version: str) -> None:
        self.steps: tuple[Step, ...] = tuple(steps)
        self.event_type: str = event_type
        self.version: str = version
        self.is_rename: bool = any(step.is_rename for step in self.steps)
        self.takes_metadata: bool = any(step.takes_metadata for step in self.steps)

    def walk(self, event: Event) -> list[Data]:
        """The data at the end of the way; more than one where a step splits the event. The event stays as it is.

        Raises UpcastError for a step that fails, and for data that is no dict.
        """
        metadata = event.metadata if self.takes_metadata else None
        return self._walk(0, self._copied(event), metadata, event)

    def _walk(self, first: int, data: Data, metadata: Any, event: Event) -> list[Data]:
        """The data at the end, from the step with the number ``first`` on."""
        for at in range(first, len(self.steps)):
            made = self._made(self.steps[at], data, metadata, event)
            if isinstance(made, list):
                # One copy each: a copy of the list would go on sharing what its members share.
                parts = [copy.deepcopy(part) for part in made]
                return [end for part in parts for end in self._walk(at + 1, part, metadata, event)]
            data = made
        return [data]

    def _copied(self, event: Event) -> Data:
        """A copy of the stored data, by decoding it once more where that is possible: it takes a third of a copy."""
        raw = event.raw
        data = event.data if raw is None or event.encoding == "bytes" else orjson.loads(raw)
        if not isinstance(data, dict):
            raise upcast_error(event, self, "its data is no dict")
        return copy.deepcopy(data) if raw is None else data

    def _made(self, step: Step, data: Data, metadata: Any, event: Event) -> Data | list[Data]:
        try:
            made: Any = step.function(data, metadata) if step.takes_metadata else step.function(data)
        except Exception as error:
            reason = f"{step} raised {type(error).__name__}: {error}"
            raise upcast_error(event, self, reason) from error
        if isinstance(made, dict):
            return made
        if isinstance(made, list) and made and all(isinstance(part, dict) for part in made):
            return made
        got = "an empty list" if made == [] else type(made).__name__
        raise upcast_error(event, self, f"{step} returned {got}; a step returns a dict, or a list of them")


def upcast_error(event: Event, way: Way, reason: str) -> UpcastError:
    """The error that says where the event was to go, and where it stands."""
    text, version = str(event.event_type), event.schema_version
    return UpcastError(
        f"{text} cannot be brought from schema version {version} to {way.version}: {reason}",
        event_type=text,
        problems=[reason],
        from_version=version,
        to_version=way.version,
        seq=event.seq,
        event_id=event.event_id,
    )


def _parameter_count(function: Upcaster) -> int:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a builtin that does not say
        return 1
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return TAKES_METADATA
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    wanted = [one for one in parameters if one.kind in kinds]
    needed = [one for one in wanted if one.default is one.empty]
    if not wanted or len(needed) > TAKES_METADATA:
        raise TypeError(
            f"{_name(function)} takes {len(needed)} arguments; a step takes data, or data and metadata"
        )
    # A second parameter with a default is the step's own constant, and no place for metadata.
    return max(1, len(needed))


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
