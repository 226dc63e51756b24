"""``aresbus rebuild``: the state of one aggregate, now or as it was.

Owns what may be named as a reducer, and how a state is shown. Rebuilding is rebuilding's. Opens the log for reading alone.
Invariant: a snapshot serves only where it is known to be of the same reducers, which a bare function cannot show.
"""

import json
import sys
from argparse import Namespace
from functools import partial
from typing import Any

from aresbus._core import Log
from aresbus.cli.programs import find_object, no_such
from aresbus.cli.read import time_text
from aresbus.cli.terminal import write_json
from aresbus.errors import AresbusError, HandlerError
from aresbus.log import open as open_log
from aresbus.readable import printable
from aresbus.rebuilding import Rebuilt, Recipe, Target, rebuild_to
from aresbus.reducers import Reducers
from aresbus.schema import EventVersionManager
from aresbus.schema.presenting import parts_of
from aresbus.troubles import described

__all__ = ["run"]

COULD_NOT = 2


def run(arguments: Namespace) -> int:
    """Print the state; 2 where there is no event. Raises ConfigError for a reducer that is not there."""
    versions, named = EventVersionManager(), arguments.reducer
    reducers, is_function = (Reducers(), False) if named is None else _found(*named)
    recipe = Recipe(reducers, partial(parts_of, versions.presenter("raw")), dict(versions.current_versions))
    target = Target.of(arguments.version, arguments.at, arguments.time)
    with open_log(arguments.log, mode="r") as log:
        rebuilt = _rebuilt(log, arguments.aggregate, recipe, target, from_zero=is_function)
    if rebuilt.seq is None and rebuilt.base is None:
        text = f"{arguments.log} has no event of the aggregate {arguments.aggregate} up to there"
        print(f"aresbus: {printable(text)}", file=sys.stderr)
        return COULD_NOT
    if arguments.json:
        write_json(_shape(arguments.aggregate, rebuilt))
    else:
        print(_heading(arguments.aggregate, rebuilt))
        for line in json.dumps(rebuilt.state, default=str, ensure_ascii=False, indent=2).splitlines():
            print(printable(line))
    if rebuilt.last is not None and not rebuilt.is_known:
        print("aresbus: no reducer knows its events: name yours with --reducer", file=sys.stderr)
    return 0


def _found(module: str, name: str) -> tuple[Reducers, bool]:
    """The reducers to fold with, and whether they are one bare function."""
    found: Any = find_object(module, name, "reducer")
    if isinstance(found, Reducers):
        return found, False
    reducers = Reducers(category_of=lambda _: "any")
    try:
        reducers.register(None, found, category="any")
    except TypeError as error:
        raise no_such("reducer", f"{module}:{name}: {error}") from error
    return reducers, True


def _rebuilt(log: Log, aggregate_id: str, recipe: Recipe, target: Target, *, from_zero: bool) -> Rebuilt:
    try:
        return rebuild_to(log, aggregate_id, recipe, target, from_zero=from_zero)
    except (AresbusError, OSError):
        raise
    except Exception as error:  # whatever a reducer raises; the note says at which event
        text = "; ".join([described(error), *getattr(error, "__notes__", ())])
        raise HandlerError(f"the reducer failed: {text}", handler="reducer") from error


def _shape(aggregate_id: str, rebuilt: Rebuilt) -> dict[str, Any]:
    base = rebuilt.base
    return {
        "aggregate_id": aggregate_id,
        "version": rebuilt.version,
        "seq": rebuilt.seq,
        "ts_ns": None if rebuilt.last is None else rebuilt.last.ts_ns,
        "snapshot_seq": None if base is None else base.snapshot.sequence_number,
        "is_known": rebuilt.is_known,
        "state": rebuilt.state,
    }


def _heading(aggregate_id: str, rebuilt: Rebuilt) -> str:
    version = "without a version" if rebuilt.version is None else f"at version {rebuilt.version}"
    when = "" if rebuilt.last is None else f", {time_text(rebuilt.last.ts_ns)}"
    base = rebuilt.base
    begun = "" if base is None else f", from the snapshot at seq {base.snapshot.sequence_number}"
    return printable(f"{aggregate_id} {version}, seq {rebuilt.seq}{when}{begun}")
