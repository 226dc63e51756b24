"""``aresbus snapshots check``: is every snapshot what the events make of it?

Owns what may be named to fold with. Checking is snapshot_acts'. Opens the log for reading alone.
"""

from argparse import Namespace
from functools import partial
from typing import Any

from aresbus.aggregates import Aggregate
from aresbus.cli.programs import find_object, no_such
from aresbus.cli.snapshots_list import tell
from aresbus.cli.terminal import counted
from aresbus.log import open as open_log
from aresbus.rebuilding import Recipe
from aresbus.reducers import Reducers
from aresbus.schema import EventVersionManager
from aresbus.schema.presenting import parts_of
from aresbus.snapshot_acts import checked

__all__ = ["run"]

FOUND = 1


def run(arguments: Namespace) -> int:
    """Print one line each; 1 if one is damaged or differs. Raises ConfigError for code that is not there."""
    reducers, versions = Reducers(), EventVersionManager()
    classes: dict[str, type[Aggregate]] = {}
    for module, name in arguments.programs:
        found: Any = find_object(module, name, "object")
        if isinstance(found, Reducers):
            reducers = found
        elif isinstance(found, EventVersionManager):
            versions = found
        elif isinstance(found, type) and issubclass(found, Aggregate):
            classes[found.__name__] = found
        else:
            takes = "takes Reducers, an Aggregate class or an EventVersionManager"
            raise no_such("object", f"{module}:{name}: {takes}, not {type(found).__name__}")
    recipe = Recipe(reducers, partial(parts_of, versions.presenter("raw")), dict(versions.current_versions))
    with open_log(arguments.log, mode="r") as log:
        results = checked(log, recipe, classes, arguments.aggregate)
    tell(results, as_json=arguments.json)
    faults = [one for one in results if one.is_fault]
    if not arguments.json:
        sound = sum(one.verdict == "sound" for one in results)
        print(f"{counted(len(results), 'snapshot')}, {sound:,} sound, {counted(len(faults), 'fault')}")
    return FOUND if faults else 0
