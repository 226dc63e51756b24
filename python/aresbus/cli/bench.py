"""``aresbus bench``: what the hot path costs on this machine, beside floors measured in the same run.

Owns which cases there are, and what is said around the figures. What is measured, and how, is aresbus.benchmark's.
Invariant: however it ends, but by SIGKILL, nothing is left in the folder that was measured in.
"""

import os
import platform
import signal
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import orjson

from aresbus._core import DEBUG_BUILD, __version__
from aresbus.benchmark import hot_path, payloads
from aresbus.benchmark.beside import Reader
from aresbus.benchmark.timing import Case, Result, compare
from aresbus.cli.machine import file_system, processor
from aresbus.cli.terminal import Progress, print_table, write_json
from aresbus.log import open as open_log

__all__ = ["run"]

SLOW_EVENTS = 50
"""So many a round where each waits for the disk, or for another process."""
IN_MEMORY = {"tmpfs", "ramfs"}
ENDED = 128
"""What a shell adds to the number of the signal that ended a process."""


def run(arguments: Namespace) -> int:
    """Measure and print; 0, whatever the figures are."""
    folder = Path(arguments.folder)
    machine = _machine(folder)
    results: list[Result] = []
    with (
        _ended_by_exit(),
        tempfile.TemporaryDirectory(prefix="aresbus-bench-", dir=folder) as place,
        Progress(enabled=not arguments.json) as progress,
    ):
        inputs = payloads.cold_inputs(arguments.events)
        for part in (_appends, _publishes, _replays, _durable, _beside):
            for case in part(Path(place), inputs):
                progress.tick(lambda case=case: f"measuring: {case.title}")  # type: ignore[misc]
                results.append(compare(case, arguments.rounds))
    (_print_json if arguments.json else _print)(arguments, machine, results)
    return 0


Cases = Iterator[Case]


def _appends(place: Path, inputs: Sequence[payloads.Input]) -> Cases:
    with open_log(place / "append") as log:
        for title, loop in (
            ("append", hot_path.appending(log)),
            ("append_many, 1,000 at once", hot_path.appending_many(log)),
        ):
            yield Case(title, "orjson.dumps", hot_path.dumps_each, loop, inputs)


def _publishes(place: Path, inputs: Sequence[payloads.Input]) -> Cases:
    with hot_path.opened_bus(place / "publish") as (loop, bus):
        floor, subject = hot_path.publishing_plainly(), hot_path.publishing(loop, bus)
        yield Case("publish to handler, stored", "a bus without a log", floor, subject, inputs)


def _replays(place: Path, inputs: Sequence[payloads.Input]) -> Cases:
    with open_log(place / "replay") as log:
        hot_path.appending(log)(inputs)
        raws = [orjson.dumps(data) for data, _, _ in inputs]
        for title, touch in (
            ("replay, untouched", None),
            ("replay, data touched", hot_path.touch_data),
            ("replay, data and metadata", hot_path.touch_all),
        ):
            subject = hot_path.replaying(log, touch)
            yield Case(title, "orjson.loads", hot_path.loads_each, subject, raws)


def _durable(place: Path, inputs: Sequence[payloads.Input]) -> Cases:
    with (
        open_log(place / "durable", durability="group") as log,
        hot_path.syncing(place / "scratch") as floor,
    ):
        few = inputs[:SLOW_EVENTS]
        yield Case("durable append (group)", "write and fdatasync", floor, hot_path.appending(log), few)


def _beside(place: Path, inputs: Sequence[payloads.Input]) -> Cases:
    with open_log(place / "beside") as log, Reader(place / "beside") as reader:
        few, floor = inputs[:SLOW_EVENTS], reader.answering()
        yield Case("append to another process", "a byte by pipe", floor, reader.reading(log), few)


@contextmanager
def _ended_by_exit() -> Iterator[None]:
    """SIGTERM winds up what is open, as Ctrl-C does."""

    def end(number: int, _: object) -> NoReturn:
        raise SystemExit(ENDED + number)

    previous = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _machine(folder: Path) -> dict[str, Any]:
    """What the figures depend on, before they are measured. Raises FileNotFoundError where there is no folder."""
    folder.stat()
    return {
        "aresbus": __version__,
        "build": "debug" if DEBUG_BUILD else "release",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "folder": str(folder.absolute()),
        "file_system": file_system(folder),
    }


def _warnings(machine: dict[str, Any]) -> list[str]:
    warnings = []
    if machine["build"] == "debug":
        warnings.append("this is a debug build of the engine: the figures say nothing about a release")
    if machine["file_system"] in IN_MEMORY:
        warnings.append(
            f"{machine['folder']} is on {machine['file_system']}, which has no disk: name a folder on one"
        )
    if machine["load"] >= (machine["cores"] or 1):
        warnings.append(
            f"other programs keep the machine busy (load {machine['load']:.1f}): expect wide spreads"
        )
    return warnings


def _print_json(arguments: Namespace, machine: dict[str, Any], results: Sequence[Result]) -> None:
    shown = [
        {
            "what": one.case.title,
            "ns": one.subject_ns,
            "floor": one.case.floor_name,
            "floor_ns": one.floor_ns,
            "ratio": one.ratio,
            "ratios": one.ratios,
        }
        for one in results
    ]
    measured = {"events": arguments.events, "rounds": arguments.rounds, "event_bytes": payloads.TRADE_BYTES}
    write_json({**machine, **measured, "warnings": _warnings(machine), "results": shown})


def _print(arguments: Namespace, machine: dict[str, Any], results: Sequence[Result]) -> None:
    rows = [
        (
            one.case.title,
            f"{one.subject_ns:,.0f}",
            one.case.floor_name,
            f"{one.floor_ns:,.0f}",
            f"{one.ratio:.1f}×",
            f"{min(one.ratios):.1f}-{max(one.ratios):.1f}",
        )
        for one in results
    ]
    print_table(
        rows, heads=("what", "ns an event", "floor", "its ns", "ratio", "rounds from-to"), right=(1, 3, 4, 5)
    )
    print(
        f"\nmedians of {arguments.rounds} rounds of {arguments.events:,} trades of {payloads.TRADE_BYTES} bytes "
        f"({SLOW_EVENTS} where each waits), floor and subject by turns\n"
        f"aresbus {machine['aresbus']} ({machine['build']}), {machine['python']}, {machine['system']}\n"
        f"{machine['cores']} cores ({machine['processor']}), load {machine['load']:.1f}; "
        f"{machine['folder']} on {machine['file_system']}"
    )
    for text in _warnings(machine):
        print(f"aresbus: {text}", file=sys.stderr)
