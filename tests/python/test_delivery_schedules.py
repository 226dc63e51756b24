"""Random schedules: subscribing, ending and going on at every point among appends, segment rolls and overflows.

Whatever the order of things, what each subscription got is compared with the log. ``SCHEDULES`` says how many are tried
(200), ``SEED`` repeats them.
"""

import asyncio
import itertools
import os
import random
import threading

import pytest
from aresbus import EnhancedEventBus
from aresbus.subscriptions import CaughtUp, FellBehind
from bus_support import make_bus, run

SCHEDULES = int(os.environ.get("SCHEDULES", "200"))
SETTINGS = {"max_history": 7, "batch_size": 3, "processing_interval": 0.002, "enable_snapshots": False}
PATIENCE_TURNS = 20_000
PADDING = "x" * 20_000
"""A roll comes after some fifty events of this size."""


class Follower:
    """A handler that keeps positions, yields where its schedule says, and knows where it has to begin."""

    def __init__(self, rng: random.Random, first: int | None) -> None:
        self.first, self.seqs, self.messages, self._rng = first, [], [], rng

    async def __call__(self, event) -> None:
        for _ in range(self._rng.choice((0, 0, 0, 1, 3))):
            await asyncio.sleep(0)
        self.seqs.append(event.seq)


class Schedule:
    """One bus, one writer thread, and a driver that does something else at every turn."""

    def __init__(self, bus: EnhancedEventBus, seed: int) -> None:
        self.bus, self.rng = bus, random.Random(seed)
        self.followers: list[tuple[Follower, object]] = []
        self.ended: list[Follower] = []

    def subscribe(self) -> None:
        rng, last = self.rng, self.bus.log.last_seq
        end = 0 if last is None else last + 1
        kind = rng.choice(("start", "after", "name", "live"))
        after = rng.randrange(end) if end else "start"
        # What begins live begins somewhere between the two looks at the end.
        first = {"start": 0, "name": 0, "live": None}.get(kind, 0 if after == "start" else after + 1)
        terms = {"after": "start" if kind != "after" else after} if kind != "live" else {}
        if kind == "name":
            terms["name"] = f"desk {len(self.followers) + len(self.ended)}"
        follower = Follower(rng, first)
        mine = self.bus.subscribe("*", follower, on_message=follower.messages.append, **terms)
        self.followers.append((follower, mine))

    def unsubscribe(self) -> None:
        if len(self.followers) > 1:
            follower, mine = self.followers.pop(self.rng.randrange(len(self.followers)))
            mine.unsubscribe()
            self.ended.append(follower)

    def append_in_thread(self, count: int, seed: int) -> threading.Thread:
        def append():
            rng = random.Random(seed)
            for n in range(count):
                data = PADDING if rng.random() < 0.3 else n
                if rng.random() < 0.5:
                    self.bus.publish("risk_alert", data).close()
                else:
                    self.bus.log.append("system_error", data)  # past the bus: delivery finds it in the log

        thread = threading.Thread(target=append)
        thread.start()
        return thread

    async def play(self) -> None:
        rng = self.rng
        threads = [self.append_in_thread(rng.randrange(20, 60), rng.random()) for _ in range(2)]
        for _ in range(rng.randrange(5, 25)):
            act = rng.random()
            if act < 0.35:
                self.subscribe()
            elif act < 0.45:
                self.unsubscribe()
            elif act < 0.55:
                await asyncio.to_thread(self.subscribe)
            elif act < 0.75:
                self.bus.publish("risk_alert", None).close()
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
        self.subscribe()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        self.bus.publish("risk_alert", "the last").close()
        last = self.bus.log.last_seq
        for _ in range(PATIENCE_TURNS):  # what is still missing then is shown by the comparison
            if all(one.seqs[-1:] == [last] for one, _ in self.followers):
                break
            await asyncio.sleep(0 if rng.random() < 0.9 else 0.001)

    def check(self) -> None:
        stored = [event.seq for event in self.bus.log.read()]
        assert stored == list(range(len(stored)))
        for follower in [*self.ended, *(one for one, _ in self.followers)]:
            first, seqs = follower.first, follower.seqs
            begin = first if first is not None else seqs[0] if seqs else 0
            assert seqs == list(range(begin, begin + len(seqs))), (
                "something is missing, twice, or out of order"
            )
        for follower, _ in self.followers:
            assert follower.seqs[-1:] == stored[-1:], "the end is missing"
            turns = [type(one) for one in follower.messages if isinstance(one, CaughtUp | FellBehind)]
            assert all(a is not b for a, b in itertools.pairwise(turns)), "told of one turn twice"


def try_schedules(folder, seed: int, count: int) -> None:
    async def act(at: int):
        options = {"segment_bytes": 1 << 20, "durability": "none"}
        async with make_bus(folder / str(at), log_options=options, **SETTINGS) as bus:
            schedule = Schedule(bus, seed + at)
            await schedule.play()
            schedule.check()

    for at in range(count):
        run(act(at))


@pytest.mark.timeout(60 + SCHEDULES)
def test_history_meets_the_live_events_without_loss_or_repeat_on_every_schedule(tmp_path, record_property):
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(10**9)))
    print(f"SEED={seed}")
    record_property("seed", seed)
    try_schedules(tmp_path, seed, SCHEDULES)


@pytest.mark.parametrize(
    "planted", ["reads one too few", "goes live one too early", "goes live one too late"]
)
def test_the_schedules_find_a_hand_over_that_is_off_by_one(tmp_path, planted, monkeypatch):
    from aresbus.delivery.cursors import Refiller

    refill = Refiller.refill

    def off_by_one(self, subscription):
        was_behind = subscription.is_behind
        refill(self, subscription)
        if was_behind and not subscription.is_behind:
            if planted == "goes live one too early":
                subscription.next_seq = max(0, self._frontier.dispatched + 1)
            elif planted == "goes live one too late":
                subscription.next_seq = max(0, self._frontier.dispatched - 1)
                subscription.is_behind = subscription.next_seq < self._frontier.dispatched
        elif was_behind and planted == "reads one too few" and len(subscription.waiting) > 1:
            subscription.next_seq -= 1
            subscription.reader = None

    monkeypatch.setattr(Refiller, "refill", off_by_one)
    # Who goes live too late may be given the same event for ever.
    with pytest.raises((AssertionError, TimeoutError), match=r"missing|twice|^$"):
        try_schedules(tmp_path, 1, 40)
