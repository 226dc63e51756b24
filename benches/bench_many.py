"""What a log of 1, 10 and 100 million events costs, side by side: flat where it must be flat, and against a full scan elsewhere.

open          For writing after a clean close, after a writer that was killed as it had appended, and for reading: what a bot
              waits for at each start. Has to be flat.
one of many   Aggregate of 1,000 events spread evenly over the log, a conversation of 20, a rare type, one minute by the
              events' own time: proportional to what is found, and a little for each segment that has to be asked.
one call      The version of an aggregate, an append that is durable on return, the head over everything.
all of it     A full scan, events untouched; what the others are to be held against.
memory        Of the process after opening and after the queries, less what it had after `import aresbus`.

Each figure comes from processes of its own, which work on a folder of hard links to the sealed files and copies of the rest: the log
itself is never written to. Cold: the pages of all its files were dropped from the page cache (fdatasync, then
POSIX_FADV_DONTNEED, which needs no root), names and inodes stay in the kernel's caches, and a virtual disk may have a cache of its
own. Warm: the median of repeats in the same process. Logs are made once (many_log.py says what is in them), kept with --keep, and
reused where they are whole. Prints tables: time, processor time (which a busy machine disturbs less), sizes. Refuses to
measure a debug build.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import aresbus
import many_log
import measure
from aresbus import _core
from many_log import Plan

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "target" / "bench-many"
WARM_REPEATS = 7
CALLS = 1_000
KILLED_AFTER = 1_000
SYNCED_APPENDS = 50

Found = dict[str, float]
"""What a process measured: cold and warm in ms, or what else its figure is made of."""


def drop_from_cache(folder: Path) -> None:
    """Write back and forget the pages of every file of a log that is not open."""
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.fdatasync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def twin(log: Path) -> Path:
    """The log once more beside it, sealed files and indexes as hard links."""
    made = log.with_name(f"{log.name}.measured")
    shutil.rmtree(made, ignore_errors=True)

    def copy(source: str, target: str) -> None:
        is_immutable = Path(source).suffix in {".seg", ".idx"}
        (os.link if is_immutable else shutil.copyfile)(source, target)

    shutil.copytree(log, made, copy_function=copy)
    return made


def timed(
    name: str, work: Callable[[], object], repeats: int = 1, after: Callable[[], object] = int
) -> Found:
    """Median time and processor time (of all threads) in ms, as ``name`` and ``name_cpu``; ``after`` each, not timed."""
    taken: tuple[list[int], list[int]] = ([], [])
    clocks = (time.perf_counter_ns, time.process_time_ns)
    for _ in range(repeats):
        starts = [clock() for clock in clocks]
        work()
        for times, clock, start in zip(taken, clocks, starts, strict=True):
            times.append(clock() - start)
        after()
    return {
        key: statistics.median(times) / 1e6 for key, times in zip((name, f"{name}_cpu"), taken, strict=True)
    }


def opened(folder: Path, mode: Any = "rw") -> aresbus.Log:
    """The log, without the record of who opened it: that is a log of its own."""
    return aresbus.open(folder, mode=mode, audit=False)


def opening(folder: Path, mode: str = "rw") -> Found:
    """Open it cold, then again and again."""
    logs: list[aresbus.Log] = []

    def once() -> None:
        logs.append(opened(folder, mode))

    drop_from_cache(folder)
    cold = timed("cold", once, after=lambda: logs.pop().close())
    return cold | timed("warm", once, WARM_REPEATS, after=lambda: logs.pop().close())


def reading(folder: Path) -> Found:
    """As a second process would."""
    return opening(folder, "r")


def dying(folder: Path) -> Found:
    """Append, and be killed."""
    log = opened(folder)
    for number in range(KILLED_AFTER):
        log.append(many_log.QUOTE, {"last": number})
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def recovering(folder: Path) -> Found:
    """Open what a killed writer left."""
    died = subprocess.run(command("dying", folder), check=False).returncode
    assert died == -signal.SIGKILL
    drop_from_cache(folder)
    logs: list[aresbus.Log] = []
    found = timed("cold", lambda: logs.append(opened(folder)))
    with logs[0] as log:
        assert (log.last_seq or 0) + 1 >= plan_of(folder).events
    return found


def counting(log: aresbus.Log, folder: Path, name: str, repeats: int) -> Found:
    """Read what a query finds, cold and then again and again; not finding all of it is an error."""
    query, expected = QUERIES[name](plan_of(folder))
    found: list[int] = []

    def once() -> None:
        found.append(sum(1 for _ in log.read(**query)))

    drop_from_cache(folder)
    times = timed("cold", once)
    if repeats:
        times |= timed("warm", once, repeats)
    assert set(found) == {expected}, f"{name}: {found}, not {expected}"
    return times | {"events": found[0]}


def querying(name: str, repeats: int = WARM_REPEATS) -> Callable[[Path], Found]:
    """Ask a log that has just been opened."""

    def figure(folder: Path) -> Found:
        with opened(folder) as log:
            return counting(log, folder, name, repeats)

    return figure


QUERIES: dict[str, Callable[[Plan], tuple[dict[str, Any], int]]] = {
    "aggregate": lambda _: ({"aggregate_id": many_log.SPREAD}, many_log.SPREAD_EVENTS),
    "conversation": lambda _: ({"correlation_id": many_log.TALK}, many_log.TALK_EVENTS),
    "type": lambda plan: ({"types": many_log.RARE}, len(plan.rare)),
    "minute": lambda plan: (
        {"time": "event", "since": plan.minute[0], "until": plan.minute[1]},
        (plan.minute[1] - plan.minute[0]) // many_log.EVENT_NS,
    ),
    "scanning": lambda plan: ({}, plan.events),
}
"""What is asked, and how many events have to come."""


def versions(folder: Path, aggregate_id: str = many_log.SPREAD) -> Found:
    """Ask for the version of one aggregate, once and then often; µs of one call."""
    with opened(folder) as log:
        first = timed("cold", lambda: log.aggregate_version(aggregate_id))
        many = timed("warm", lambda: [log.aggregate_version(aggregate_id) for _ in range(CALLS)])
        return {key: 1e3 * ms for key, ms in first.items()} | {
            key: 1e3 / CALLS * ms for key, ms in many.items()
        }


def no_versions(folder: Path) -> Found:
    """The same of an aggregate that is not there."""
    return versions(folder, "order-of-nobody")


def appending(folder: Path) -> Found:
    """Append in a log that has just been opened, durable on return: the first time, and the median of some."""
    with opened(folder) as log:

        def once() -> None:
            log.append(many_log.QUOTE, {"n": 1}, durability="group")

        return timed("cold", once) | timed("warm", once, SYNCED_APPENDS)


def heading(folder: Path) -> Found:
    """The head over everything: the first makes the tree of all events, the second adds to it."""
    with opened(folder) as log:
        drop_from_cache(folder)
        return timed("cold", log.head) | timed("warm", log.head)


def resident_mb() -> tuple[float, float]:
    """Resident memory of this process, and the part of it that is no file's, in MB."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]
    kb = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return kb["Rss"] * 1024 / 1e6, kb["Anonymous"] * 1024 / 1e6


def memory(folder: Path) -> Found:
    """What the process holds after opening, and after the queries."""
    found: Found = {}
    before = resident_mb()
    with opened(folder) as log:
        for name in ("opened", "queried"):
            for part, now, then in zip(("rss", "own"), resident_mb(), before, strict=True):
                found[f"{part}_{name}"] = now - then
            for query in QUERIES if name == "opened" else ():
                counting(log, folder, query, 0)
        stats = log.stats()
    sealed = {path.suffix: 0 for path in (folder / "segments").iterdir()}
    for path in (folder / "segments").iterdir():
        sealed[path.suffix] += path.stat().st_size
    segments = stats["segments"]
    events = segments[-1]["first_seq"]
    found |= {"segments": len(segments), "aggregates": stats["aggregate_count"]}
    found |= {"raw": sum(one["used_bytes"] for one in segments[:-1]) / events}
    found |= {"sealed": sealed[".seg"] / events, "indexes": sealed[".idx"] / events}
    return found | {"tail_mb": segments[-1]["used_bytes"] / 1e6}


FIGURES: dict[str, Callable[[Path], Found]] = {
    "opening": opening,
    "reading": reading,
    "dying": dying,
    "recovering": recovering,
    **{name: querying(name) for name in QUERIES},
    "scanning": querying("scanning", 0),
    "versions": versions,
    "no_versions": no_versions,
    "appending": appending,
    "heading": heading,
    "memory": memory,
}
TITLES = {
    "opening": "open for writing after a clean close, ms",
    "recovering": f"open after a kill -9 behind {KILLED_AFTER:,} appends, ms",
    "reading": "open for reading, ms",
    "aggregate": "aggregate of {events:,.0f} events all over the log, ms",
    "conversation": "conversation of {events:,.0f} events, ms",
    "type": "rare type, ms (events)",
    "minute": "one minute by event time, ms (events)",
    "versions": "aggregate_version, first / each, µs",
    "no_versions": "aggregate_version of none, first / each, µs",
    "appending": "append, durable on return, first / each, ms",
    "heading": "head(), first / second, ms",
    "scanning": "full scan, events untouched, s (million events/s)",
}
ONCE = ("scanning", "heading", "memory")
"""What takes long or does not vary."""


def plan_of(folder: Path) -> Plan:
    """What is in a log, by its name."""
    return Plan(int(folder.name.partition("-")[0]))


def command(figure: str, folder: Path) -> list[str]:
    """The process that measures one figure."""
    return [sys.executable, __file__, "--figure", figure, "--folder", str(folder)]


def figures(log: Path, repeats: int, names: Sequence[str]) -> dict[str, Found]:
    """All figures of one log, each the median of so many processes."""
    found = {}
    for name in names:
        runs = []
        for _ in range(1 if name in ONCE else repeats):
            folder = twin(log)
            try:
                done = subprocess.run(command(name, folder), check=True, stdout=subprocess.PIPE)
            finally:
                shutil.rmtree(folder)
            runs.append(json.loads(done.stdout))
        found[name] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        print(f"{log.name}: {name}: {found[name]}", file=sys.stderr, flush=True)
    return found


def number(value: float) -> str:
    """Three digits that matter."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits


def cell(name: str, found: Found, clock: str) -> str:
    """What was found of one figure in one log."""
    if name == "scanning":
        seconds = found[f"cold{clock}"] / 1e3
        return f"{number(seconds)} ({found['events'] / seconds / 1e6:.2f})"
    times = " / ".join(number(found[key]) for key in (f"cold{clock}", f"warm{clock}") if key in found)
    return f"{times} ({found['events']:,.0f})" if name in {"type", "minute"} else times


def times(by_events: dict[int, dict[str, Found]], clock: str = "") -> Iterator[str]:
    """A Markdown table, a column for each log: time, or processor time."""
    columns = list(by_events.values())
    what = "processor time, cold / warm" if clock else "cold / warm"
    yield f"| {what} | " + " | ".join(f"{events:,} events" for events in by_events) + " |"
    yield "| --- |" + " --- |" * len(columns)
    for name, title in TITLES.items():
        if name in columns[0]:
            cells = " | ".join(cell(name, column[name], clock) for column in columns)
            yield f"| {title.format(**columns[0][name])} | {cells} |"


def sizes(by_events: dict[int, dict[str, Found]]) -> Iterator[str]:
    """A Markdown table of what is held in memory and on disk."""
    columns = list(by_events.values())
    yield "| size | " + " | ".join(f"{events:,} events" for events in by_events) + " |"
    yield "| --- |" + " --- |" * len(columns)
    for title, keys in (
        ("memory after opening, MB: resident / of no file", ("rss_opened", "own_opened")),
        ("memory after the queries, MB: the same", ("rss_queried", "own_queried")),
        ("segments / MB in the last, unsealed one", ("segments", "tail_mb")),
        ("aggregates", ("aggregates",)),
        ("bytes per event: raw / sealed / indexes", ("raw", "sealed", "indexes")),
    ):
        cells = (" / ".join(number(column["memory"][key]) for key in keys) for column in columns)
        yield f"| {title} | " + " | ".join(cells) + " |"


def made(folder: Path, plan: Plan) -> Path:
    """The log, made unless it is there and whole."""
    name = folder / plan.folder_name
    if not many_log.is_whole(folder, plan):
        shutil.rmtree(name, ignore_errors=True)
        seconds = many_log.make(folder, plan)
        rate = plan.events / seconds / 1e3
        print(f"{plan.events:,} events made in {seconds:,.0f} s: {rate:,.0f} thousand/s", flush=True)
    return name


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--keep", action="store_true", help="leave the logs for the next time")
    parser.add_argument("--repeats", type=int, default=3, help="processes of each figure (default 3)")
    parser.add_argument("--only", nargs="+", default=[*TITLES, "memory"], help="figures by name")
    parser.add_argument("--figure", choices=FIGURES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.figure:
        print(json.dumps(FIGURES[given.figure](given.folder)))
        return
    if _core.DEBUG_BUILD:
        sys.exit("this is a debug build; `make build` makes one that is worth measuring")
    given.folder.mkdir(parents=True, exist_ok=True)
    print(measure.machine(ROOT, given.folder), flush=True)
    found = {}
    for events in given.events:
        log = made(given.folder, Plan(events))
        found[events] = figures(log, given.repeats, given.only)
        if not given.keep:
            shutil.rmtree(log)
    print("", *times(found), "", *times(found, "_cpu"), sep="\n")
    if "memory" in given.only:
        print("", *sizes(found), sep="\n")


if __name__ == "__main__":
    main()
