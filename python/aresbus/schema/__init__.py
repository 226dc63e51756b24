"""Schema versions of event types: what data must look like, and how data of an older version becomes newer.

Owns the public names. From the bottom up: `versions` (their order), `normal_form` (what a JSON Schema means), `checking`
(does data fit), `declared` and `derived` (a schema, also from a class), `compatibility` (may a schema follow another),
`upcasting` (a step, a way), `table` (which versions a type has), `chains` (its steps), `registry` (what may be
registered), `presenting` (an event in its current form),
`manager` (the face that Ares code knows), `catalogue` (what a log records of all this).
"""

from aresbus.schema.catalogue import Catalogue, RecordedSchema, recorder_of
from aresbus.schema.compatibility import Compatibility, breaks
from aresbus.schema.declared import FieldRules, Schema
from aresbus.schema.manager import EventVersionManager
from aresbus.schema.presenting import Policy, Presenter
from aresbus.schema.upcasting import Upcaster
from aresbus.schema.versions import version_order

__all__ = [
    "Catalogue",
    "Compatibility",
    "EventVersionManager",
    "FieldRules",
    "Policy",
    "Presenter",
    "RecordedSchema",
    "Schema",
    "Upcaster",
    "breaks",
    "recorder_of",
    "version_order",
]
