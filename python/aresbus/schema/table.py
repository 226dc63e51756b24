"""Which versions each event type has, what is declared in each, and which one is current.

Owns the table behind ``version_mappings`` and the questions to it. Knows no step and no rule. Invariant: the table is the one
place that says which versions a type has, whoever wrote it, so nothing derived from it is kept here.
"""

from aresbus.errors import SchemaError
from aresbus.events import DEFAULT_VERSION, event_type_of
from aresbus.schema.declared import FieldRules, Schema, schema_of_rules
from aresbus.schema.versions import version_order

__all__ = ["SchemaTable"]


class SchemaTable:
    """Schemas by version and event type."""

    version_mappings: dict[str, dict[str, FieldRules]]
    """``{version: {event_type: {"required_fields": [...], "optional_fields": [...]}}}``; may be extended directly."""
    current_versions: dict[str, str]
    """Type to the version it is published in, where that is not 1.0.0. Not to be changed: ``set_current`` does."""

    def __init__(self) -> None:
        """Nothing is declared."""
        self.version_mappings, self.current_versions = {}, {}

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

    def is_known_type(self, event_type: str) -> bool:
        """Whether the type was registered, or anything is declared of it."""
        return event_type_of(event_type) is not None or bool(self.versions(event_type))

    def current_version(self, event_type: str) -> str:
        """The version the type is published in unless its publisher says otherwise; 1.0.0 until set."""
        return self.current_versions.get(event_type, DEFAULT_VERSION)
