"""The log that bench_many.py measures: so many events, varied from the recording that the package ships, sealed while they are made.

Owns what is in it and where, so that a figure knows what it has to find; knows nothing of time taken. A quote a
millisecond by the events' own clock; one in four a trade, of one of 100,000 aggregates in no order and of a conversation of
five, and among them, at places that follow from the number of events alone: 1,000 events of one aggregate, spread evenly
over the whole log; one conversation of 20 in the middle; one event in 100,000 of a rare type. A log is made aside and
renamed once it is closed: what has its name is whole.
"""

import gzip
import random
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, cycle, repeat
from pathlib import Path

import aresbus
from aresbus.market_day import CAPTURES

QUOTE, TRADE, RARE = "market_data_received", "trade_executed", "trading_halted"
AGGREGATES = 100_000
SPREAD = "order-spread-over-all"
SPREAD_EVENTS = 1_000
TALK = str(uuid.UUID(int=6, version=4))
TALK_EVENTS = 20
TALK_STRIDE = 100
TALK_OF_TRADES = 5
TRADE_STRIDE = 4
RARE_STRIDE = 100_000
START_NS = 1_723_161_253_000_000_000
EVENT_NS = 1_000_000
MINUTE_NS = 60_000_000_000
RAW_EVENT_BYTES = 250
KEEP_FREE_BYTES = 15 << 30
_VARIED = 1 << 16
_MIXED = 1 << 20
_FIRST_NUMBER = 50_093_239_212
_LOOK_STRIDE = 1_000_000
_PRICE = re.compile(rb'("[bp]":"\d+\.)\d\d')
_QUANTITY = re.compile(rb'("[Bq]":"\d+\.)\d\d\d')
_NUMBER = re.compile(rb'("[ut]":)\d+')


@dataclass(frozen=True)
class Plan:
    """Where things are in a log of so many events; at least 20,000, so that they do not meet."""

    events: int

    @property
    def folder_name(self) -> str:
        """Of the log."""
        return f"{self.events}-events"

    @property
    def stride(self) -> int:
        """From one event of the aggregate that is spread over all to the next."""
        return self.events // SPREAD_EVENTS

    @property
    def talk(self) -> range:
        """The events of the conversation in the middle."""
        first = self.events // 2 + 2
        return range(first, first + TALK_EVENTS * TALK_STRIDE, TALK_STRIDE)

    @property
    def rare(self) -> range:
        """The events of the rare type."""
        return range(min(RARE_STRIDE, self.events) // 2 + 3, self.events, RARE_STRIDE)

    @property
    def minute(self) -> tuple[int, int]:
        """One minute in the middle by the events' own time, or a quarter of a log that is shorter: since, until."""
        since = START_NS + self.events // 2 * EVENT_NS
        return since, since + min(MINUTE_NS, self.events // 4 * EVENT_NS)

    @property
    def special(self) -> dict[int, dict[str, str]]:
        """What is said of the events that a figure looks for, beside their time."""
        found: dict[int, dict[str, str]] = {number: {"event_type": RARE} for number in self.rare}
        found |= {number: {"event_type": TRADE, "correlation_id": TALK} for number in self.talk}
        spread = range(1, 1 + SPREAD_EVENTS * self.stride, self.stride)
        for number in spread:
            found[number] = {"event_type": TRADE} | found.get(number, {}) | {"aggregate_id": SPREAD}
        return found


def templates() -> list[bytes]:
    """Recorded quotes and trades in any order, digits of price and quantity by chance, with room for a number."""
    recorded, chance = [], random.Random(6)
    for capture in CAPTURES:
        with gzip.open(capture.path, "rb") as file:
            messages = [line.rstrip(b"\n").split(b" ", 1)[1] for line in file]
        recorded += [one for one in messages if b"@bookTicker" in one or b"@trade" in one]
    made = []
    for message in chance.choices(recorded, k=_VARIED):
        priced = _PRICE.sub(rb"\g<1>%02d" % chance.randrange(100), message, count=1)
        traded = _QUANTITY.sub(rb"\g<1>%03d" % chance.randrange(1_000), priced, count=1)
        made.append(_NUMBER.sub(rb"\g<1>%d", traded, count=1))
    return made


def talks() -> Iterator[str]:
    """For ever: correlation ids, each for a few trades that follow one another."""
    chance = random.Random(7)
    while True:
        one = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        yield from repeat(one, TALK_OF_TRADES)


def fill(log: aresbus.Log, plan: Plan) -> None:
    """Append all of it. The payloads are JSON already, so one by one: append_many would encode them from dicts."""
    append, special, talk, chance = log.append_bytes, plan.special, talks(), random.Random(8)
    orders = cycle(chance.choices([f"order-{number:06d}" for number in range(AGGREGATES)], k=_MIXED))
    numbered = zip(range(plan.events), count(START_NS, EVENT_NS), cycle(templates()))
    for number, event_time_ns, template in numbered:
        payload = template % (_FIRST_NUMBER + number)
        if number in special:
            append(payload=payload, encoding="json", event_time_ns=event_time_ns, **special[number])
        elif number % TRADE_STRIDE:
            append(QUOTE, payload, encoding="json", source="feed", event_time_ns=event_time_ns)
        else:
            append(
                TRADE,
                payload,
                encoding="json",
                aggregate_id=next(orders),
                correlation_id=next(talk),
                event_time_ns=event_time_ns,
            )
        if number % _LOOK_STRIDE == _LOOK_STRIDE - 1:
            refuse_full_disk(Path(log.path or ""), plan)


def refuse_full_disk(folder: Path, plan: Plan) -> None:
    """A benchmark must not be what fills a disk: what the log would be unsealed stays free, at most 15 GiB."""
    free, kept = shutil.disk_usage(folder).free, min(KEEP_FREE_BYTES, RAW_EVENT_BYTES * plan.events)
    if free < kept:
        raise SystemExit(f"{folder}: {free >> 20:,} MiB are free, {kept >> 20:,} are to stay so")


def make(folder: Path, plan: Plan, **options: object) -> float:
    """Make the log under its name in ``folder``, closed and sealed but for its last segment; seconds that it took."""
    aside, name = folder / f"{plan.folder_name}.making", folder / plan.folder_name
    shutil.rmtree(aside, ignore_errors=True)
    start = time.perf_counter()
    with aresbus.open(aside, durability="none", audit=False, **options) as log:
        fill(log, plan)
        log.sync()
        while not all(one["is_sealed"] for one in log.stats()["segments"][:-1]):
            time.sleep(0.01)
    aside.rename(name)
    return time.perf_counter() - start


def is_whole(folder: Path, plan: Plan) -> bool:
    """Whether the log is there as it was made: as many events, all segments but the last sealed, the aggregate complete."""
    name = folder / plan.folder_name
    if not name.is_dir():
        return False
    with aresbus.open(name, mode="r", audit=False) as log:
        is_sealed = all(one["is_sealed"] for one in log.stats()["segments"][:-1])
        is_complete = log.aggregate_version(SPREAD) == SPREAD_EVENTS - 1
        return log.last_seq == plan.events - 1 and is_sealed and is_complete
