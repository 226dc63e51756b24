"""``aresbus demo``: real market data through the whole system, with a crash in the middle.

Owns the story and its checks. Invariants: every number shown was measured in this run; a check that fails is said and
makes the exit code 1; the log is kept, so that the commands named at the end work.
"""

import asyncio
import random
import secrets
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aresbus.bus import EnhancedEventBus
from aresbus.cli.child import Recorder
from aresbus.cli.indicators import Indicators, add_trade
from aresbus.cli.lines import Message
from aresbus.cli.recorder import SNAPSHOT_FREQUENCY, bus_config, market_messages, quiet, register_types
from aresbus.cli.terminal import Progress, count, counted, duration, print_table, size, write_json
from aresbus.cli.verify import verify_log
from aresbus.log import open as open_log
from aresbus.market_day import CAPTURES

__all__ = ["run"]

CRASH_BETWEEN = (0.4, 0.7)
"""Share of the feed after which the recorder is killed: in mid-feed, whatever the pipe still holds."""
Feed = list[tuple[str, Message]]


@dataclass
class Outcome:
    """What the run measured; None until its step was reached."""

    log: str
    seed: int
    messages: int
    acknowledged: int = 0
    survived: int = 0
    recovered: int = 0
    opening: dict[str, Any] = field(default_factory=dict)
    events: int = 0
    events_per_second: float = 0.0
    latency_ns: dict[str, int] = field(default_factory=dict)
    bytes_per_event: float = 0.0
    payload_bytes_per_event: float = 0.0
    replay_events_per_second: float = 0.0
    replay_equals_live: bool = False
    rebuilt: dict[str, Any] = field(default_factory=dict)
    rebuild_equals_live: bool = False
    verify_findings: int = 0
    problems: list[str] = field(default_factory=list)

    def check(self, good: bool, problem: str) -> None:  # noqa: FBT001 - reads as a sentence
        """Keep ``problem`` unless ``good``."""
        if not good:
            self.problems.append(problem)


def run(arguments: Namespace) -> int:
    """Run the demo; 1 if any of its checks failed."""
    quiet()
    log = _place(arguments.log)
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    feed = market_messages()
    register_types(feed)
    outcome = Outcome(log=str(log), seed=seed, messages=len(feed))
    tell = _silent if arguments.json else print
    sources = " and ".join(capture.source for capture in CAPTURES)
    tell(f"{counted(len(feed), 'message')} as Binance sent them on 8 August 2024 ({sources}) → {log}\n")
    crash = _crash(log, feed, outcome, tell)
    _reopen(log, feed, crash, outcome, tell)
    live = _go_on(log, outcome, tell)
    _replay(log, feed, live, outcome, tell)
    asyncio.run(_rebuild(log, live, outcome, tell))
    _verify(log, outcome, tell, progress=not arguments.json)
    if arguments.json:
        write_json(asdict(outcome) | {"ok": not outcome.problems})
    else:
        _finish(outcome)
    return 1 if outcome.problems else 0


def _silent(_: str) -> None:
    """Stands for print where the one JSON document is all that may be printed."""


def _place(wanted: str | None) -> Path:
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="aresbus-demo-")) / "log"
    place = Path(wanted)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise FileExistsError(f"the demo wants a new folder: {wanted} is there and not empty")
    return place


def _crash(log: Path, feed: Feed, outcome: Outcome, tell: Callable[[str], object]) -> list[int]:
    low, high = (int(share * len(feed)) for share in CRASH_BETWEEN)
    crash_at = random.Random(outcome.seed).randint(low, high)  # noqa: S311 - no secret, a place to crash
    with Recorder(log) as recorder:
        tell(
            f"1 record   process {recorder.pid} publishes them on a bus; two subscribers: VWAP, best bid and ask"
        )
        recorder.listen(until=crash_at)
        recorder.kill()
        outcome.acknowledged = len(recorder.acknowledged)
        tell(f"2 crash    SIGKILL in mid-feed; it had acknowledged {counted(outcome.acknowledged, 'event')}")
        return recorder.acknowledged


def _reopen(
    log: Path, feed: Feed, acknowledged: list[int], outcome: Outcome, tell: Callable[[str], object]
) -> None:
    with open_log(log) as opened:
        outcome.opening = dict(opened.recovery)
        stored = [event.raw for event in opened.read()]
    outcome.survived = len(stored)
    sent = [message.payload for _, message in feed]
    outcome.recovered = sum(seq < len(stored) and stored[seq] == sent[seq] for seq in acknowledged)
    outcome.check(outcome.recovered == outcome.acknowledged, "an acknowledged event is missing or changed")
    outcome.check(stored == sent[: len(stored)], "the log is not a prefix of what was sent")
    ahead = outcome.survived - outcome.acknowledged
    more = f", and {count(ahead)} that it had stored but not told" if ahead else ""
    tell(
        f"3 reopen   {count(outcome.recovered)} of {count(outcome.acknowledged)} are there, byte for byte{more}"
    )
    tell(f"           {_cut_text(outcome.opening)}")


def _cut_text(opening: dict[str, Any]) -> str:
    cut = opening["cut"]
    torn = f"{counted(cut['quarantined_bytes'], 'byte')} of a torn end kept aside" if cut else "no torn end"
    return f"{torn}; the log begins epoch {opening['epoch']}"


def _go_on(log: Path, outcome: Outcome, tell: Callable[[str], object]) -> dict[str, Any]:
    with Recorder(log) as recorder:
        report = recorder.report()
    outcome.events_per_second = report["events"] / (report["took_ns"] / 1e9)
    outcome.latency_ns = report["latency_ns"]
    outcome.check(
        recorder.acknowledged == list(range(outcome.survived, outcome.messages)),
        "the feed was not recorded to its end",
    )
    tell(
        f"4 go on    the next recorder took in what was there and published the other {count(report['events'])}"
    )
    state: dict[str, Any] = report["state"]
    return state


def _replay(
    log: Path, feed: Feed, live: dict[str, Any], outcome: Outcome, tell: Callable[[str], object]
) -> None:
    indicators = Indicators()
    with open_log(log, mode="r") as opened:
        began = time.perf_counter_ns()
        for event in opened.read():
            indicators.take(event)
            outcome.events += 1
        took_ns = time.perf_counter_ns() - began
        same = [event.raw for event in opened.read()] == [message.payload for _, message in feed]
        used = sum(segment["used_bytes"] for segment in opened.stats()["segments"])
    outcome.check(same, "the log is not what was sent")
    outcome.bytes_per_event = used / outcome.events
    outcome.payload_bytes_per_event = sum(len(message.payload) for _, message in feed) / len(feed)
    outcome.replay_events_per_second = outcome.events / (took_ns / 1e9)
    outcome.replay_equals_live = indicators.state() == live
    outcome.check(outcome.replay_equals_live, "replay gives another state than the live subscribers had")
    equal = "the same prices as live" if outcome.replay_equals_live else "OTHER PRICES THAN LIVE"
    tell(f"5 replay   {counted(outcome.events, 'event')} in {duration(took_ns)}: {equal}")
    for aggregate, trades in indicators.trades.items():
        book = indicators.books[aggregate]
        tell(
            f"             {aggregate:<22} VWAP {trades['vwap']:,.2f} of {count(trades['trades'])} trades, "
            f"bid {book['bid']:,.2f} ask {book['ask']:,.2f}, widest spread {book['widest_bp']:.2f} bp"
        )


async def _rebuild(log: Path, live: dict[str, Any], outcome: Outcome, tell: Callable[[str], object]) -> None:
    aggregate = f"{CAPTURES[0].source}:BTCUSDT"
    async with EnhancedEventBus(bus_config(str(log)), strict=True) as bus:
        bus.register_reducer("trade", add_trade)
        began = time.perf_counter_ns()
        outcome.rebuilt = await bus.rebuild_from_events(aggregate)
        took_ns = time.perf_counter_ns() - began
    outcome.rebuild_equals_live = outcome.rebuilt == live["trades"][aggregate]
    outcome.check(outcome.rebuild_equals_live, f"rebuilding {aggregate} gives another state than it had live")
    tell(
        f"6 rebuild  {aggregate} from its own events in {duration(took_ns)}: VWAP {outcome.rebuilt['vwap']:,.2f}"
    )


def _verify(log: Path, outcome: Outcome, tell: Callable[[str], object], *, progress: bool) -> None:
    with Progress(enabled=progress) as line:
        verdict = verify_log(log, line)
    outcome.verify_findings = sum(len(result["findings"]) for result in verdict["checked"].values())
    outcome.check(not outcome.verify_findings, f"verify has {counted(outcome.verify_findings, 'finding')}")
    tell(
        f"7 verify   checksums, positions, aggregate chains: {counted(outcome.verify_findings, 'finding')}\n"
    )


def _finish(outcome: Outcome) -> None:
    latency = outcome.latency_ns
    shown = " / ".join(duration(latency[name]) for name in ("p50", "p99", "p99_9"))
    print_table(
        [
            ("events", count(outcome.events)),
            (
                "rate",
                f"{outcome.events_per_second:,.0f} events/s, two subscribers, a snapshot every {count(SNAPSHOT_FREQUENCY)}",
            ),
            ("publish to handler", f"{shown} (p50 / p99 / p99.9 of {count(latency['samples'])})"),
            (
                "bytes per event",
                f"{outcome.bytes_per_event:,.1f}, {outcome.payload_bytes_per_event:,.1f} of it payload",
            ),
            ("acknowledged before the crash", count(outcome.acknowledged)),
            ("recovered byte for byte", count(outcome.recovered)),
            (
                "verified",
                "no findings" if not outcome.verify_findings else counted(outcome.verify_findings, "finding"),
            ),
        ]
    )
    for problem in outcome.problems:
        print(f"FAILED: {problem} (repeat with --seed {outcome.seed})", file=sys.stderr)
    log = outcome.log
    print(f"\n{size(outcome.bytes_per_event * outcome.events)} in {log}; try next:")
    print(f"  aresbus read {log} --type trade --limit 5")
    print(f"  aresbus info {log}")
    print(f"  aresbus verify {log}")
