"""``aresbus replay``: a range of a log again, printed when it is due, or through a strategy.

Owns what is called as a strategy and what is printed. Playing is aresbus.replay's. Invariants: the log is opened for reading
alone; with the same log, range and strategy the output is the same, byte for byte.
"""

import asyncio
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from aresbus._core import Event
from aresbus.cli.programs import find_object, no_such
from aresbus.cli.read import json_line, text_line
from aresbus.cli.terminal import count, counted, json_text
from aresbus.errors import HandlerError
from aresbus.log import open as open_log
from aresbus.replay import Replay, ReplayReport, StrategyBus
from aresbus.troubles import described

__all__ = ["find_strategy", "run"]


def run(arguments: Namespace) -> int:
    """Replay; what a strategy or its handlers raise is raised."""
    make = None if arguments.strategy is None else find_strategy(*arguments.strategy)
    show = None if arguments.digest else _printer(as_json=arguments.json, at_once=arguments.speed is not None)
    with (
        open_log(arguments.log, mode="r") as log,
        Replay(
            log,
            after=arguments.after,
            up_to=arguments.up_to,
            since=arguments.since,
            until=arguments.until,
            types=arguments.types,
            without=arguments.without,
            aggregate_id=arguments.aggregate,
            speed=arguments.speed,
            time=arguments.time,
            on_taken=show if make is None else None,
            on_made=show,
        ) as replay,
    ):
        report = asyncio.run(_play(replay, make))
    if make is not None or arguments.digest:
        _tell(report, as_json=arguments.json)
    return 0


async def _play(replay: Replay, make: Callable[[StrategyBus], Any] | None) -> ReplayReport:
    if make is not None:
        try:
            made = make(replay)
            if hasattr(type(made), "__await__"):
                await made
        except Exception as error:
            name = getattr(make, "__qualname__", repr(make))
            raise HandlerError(f"{name} could not begin: {described(error)}", handler=name) from error
    return await replay.run_async()


def find_strategy(module: str, name: str) -> Callable[[StrategyBus], Any]:
    """The class or function ``name`` in a module on the path, the current folder included, or in a file.

    Raises ConfigError where there is none, or the module cannot be loaded.
    """
    found = find_object(module, name, "strategy")
    if not callable(found):
        problem = f"{module}:{name} is called with the bus; {type(found).__name__} cannot be called"
        raise no_such("strategy", problem)
    strategy: Callable[[StrategyBus], Any] = found
    return strategy


def _printer(*, as_json: bool, at_once: bool) -> Callable[[Event], None]:
    line = json_line if as_json else text_line

    def show(event: Event) -> None:
        sys.stdout.write(line(event) + "\n")
        if at_once:
            sys.stdout.flush()

    return show


def _tell(report: ReplayReport, *, as_json: bool) -> None:
    if as_json:
        print(json_text(asdict(report)))
        return
    print(
        f"{counted(report.replayed, 'event')} replayed up to seq {report.position}, {count(report.published)} published"
    )
    if report.blocked:
        held = ", ".join(f"{count(times)} × {name}" for name, times in sorted(report.blocked.items()))
        print(f"held back: {held}")
    print(f"digest {report.digest} of what was published")
    print(f"input  {report.input_digest} of what was replayed")
