"""``aresbus audit``: what was done to a log, by whom, why, and how it ended.

Owns the line of an act, and that a trail which cannot be read hides no other: it is named on stderr, and the exit code
is 1. Changes nothing; looking at acts is no act.
"""

import json
import sys
from argparse import Namespace
from typing import Any

from aresbus.acts import Act, acts_in, known_trails, matching
from aresbus.cli.failure import error_line, error_object
from aresbus.cli.terminal import counted, print_table, write_json
from aresbus.errors import AresbusError
from aresbus.readable import printable, time_text

__all__ = ["run"]

GLIMPSE = 60
"""Characters shown of what came of an act; --json has it whole."""
FINDINGS = 1


def run(arguments: Namespace) -> int:
    """Print the acts that match; 1 where a trail could not be read."""
    found, unreadable = _read(arguments.log)
    acts = matching(
        found,
        act=arguments.act,
        actor=arguments.actor,
        since=arguments.since,
        until=arguments.until,
        outcome=arguments.outcome,
    )
    if arguments.json:
        problems = [error_object(error)["error"] for error in unreadable]
        write_json({"acts": [act.to_dict() for act in acts], "unreadable": problems})
    else:
        heads = ("begun", "act", "outcome", "actor", "reason", "what came of it")
        print_table([_row(act) for act in acts], heads=heads)
        print(counted(len(acts), "act"))
        for error in unreadable:
            print(error_line(error), file=sys.stderr)
    return FINDINGS if unreadable else 0


def _read(path: str) -> tuple[list[Act], list[Exception]]:
    acts: list[Act] = []
    unreadable: list[Exception] = []
    for folder in known_trails(path):
        try:
            acts += acts_in(folder)
        except (AresbusError, OSError) as error:
            unreadable.append(error)
    return acts, unreadable


def _row(act: Act) -> tuple[str, ...]:
    name, user = _text(act.actor.get("name")), _text(act.actor.get("user"))
    who = name if name in ("", user) else f"{name} ({user})"
    what = act.result.get("error") or json.dumps(act.result or act.details, ensure_ascii=False)
    cells = (
        time_text(act.begun_ns),
        act.name,
        act.outcome,
        who or user,
        _text(act.actor.get("reason")),
        _text(what),
    )
    return tuple(printable(cell if len(cell) <= GLIMPSE else f"{cell[: GLIMPSE - 1]}…") for cell in cells)


def _text(value: Any) -> str:
    return "" if value is None else str(value)
