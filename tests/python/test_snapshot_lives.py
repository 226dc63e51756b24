"""Random lives of a log with snapshots: whatever policies, kills, new reducers and damage, a state is what its events make it.

The expected states come from a plain list. A kill is a copy of the directory of a running log, on which the life goes on; a
lying disk keeps newer snapshots than events, whose positions are then used again.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path

from aresbus import ManualClock, SnapshotPolicy
from aresbus.rebuilding import Target, rebuild_to
from bus_support import make_bus, run
from hypothesis import HealthCheck, example, given, settings, strategies as st

SECOND = 1_000_000_000
AGGREGATES = ("a-1", "a-2", "b-1")
FAULTS = {"damaged", "displaced"}
"""What a life may do to snapshots. That one differs from its events is what must never be."""

policies = st.builds(
    SnapshotPolicy,
    every_events=st.none() | st.integers(1, 4),
    every_seconds=st.none() | st.sampled_from([0.5, 3]),
    when=st.sampled_from(
        [None, lambda state, event: event.data % 5 == 0, lambda state, event: len(state["n"]) == 3]
    ),
    kept=st.integers(1, 3),
)
steps = st.one_of(
    st.tuples(st.just("publish"), st.integers(0, 2), st.integers(1, 5)),
    st.tuples(st.just("publish"), st.integers(0, 2), st.integers(1, 5)),
    st.tuples(st.just("policy"), st.sampled_from([None, "a", "b"]), policies),
    st.tuples(st.just("wait"), st.sampled_from([0.2, 1, 5])),
    st.tuples(st.just("by hand"), st.integers(0, 2)),
    st.tuples(st.just("new reducer")),
    st.tuples(st.just("old reducer")),
    st.tuples(
        st.just("damage"), st.integers(0, 9), st.sampled_from(["flip", "cut", "empty", "delete", "swap"])
    ),
    st.tuples(st.just("stop")),
    st.tuples(st.just("kill")),
    st.tuples(st.just("lying disk"), st.integers(0, 2), st.integers(1, 6)),
    st.tuples(st.just("drop"), st.booleans()),
)


def copy_running(folder: Path, copy: Path, *, without: str = "") -> None:
    """The directory as a kill leaves it. META first: what it names is there before it names it.

    Once more where a file came or went meanwhile, as when a segment is sealed: no kill leaves half of that.
    """
    while True:
        before = sorted(folder.rglob("*"), key=lambda path: path.name != "META")
        try:
            for path in before:
                inside = path.relative_to(folder)
                if path.is_file() and inside.parts[0] != without:
                    (copy / inside).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, copy / inside)
        except FileNotFoundError:
            pass
        else:
            if set(folder.rglob("*")) == set(before):
                return
        shutil.rmtree(copy, ignore_errors=True)


class Life:
    """One log through its bus, and the plain list of what was published."""

    def __init__(self, folder: Path) -> None:
        self.root, self.count = folder, 0
        self.clock = ManualClock(1_700_000_000 * SECOND)
        self.published: list[tuple[str, int, int, int]] = []
        """Aggregate, position, time and data of each event; no data is ever used again, also not of what was lost."""
        self.made = 0
        self.version = 1
        self.policies: dict[str | None, SnapshotPolicy] = {None: SnapshotPolicy(every_events=2)}
        self.begin()

    @property
    def folder(self) -> Path:
        return self.root / str(self.count)

    def begin(self) -> None:
        self.bus = make_bus(self.folder, clock=self.clock)
        self.register()
        for category, policy in self.policies.items():
            self.bus.set_snapshot_policy(policy, category=category)

    def register(self) -> None:
        version = self.version

        def collect(state, event):
            state.setdefault("n", []).append(event.data)
            state["by"] = version

        for category in ("a", "b"):
            self.bus.register_reducer(None, collect, version=version, category=category)

    async def step(self, kind, *args) -> None:
        await getattr(self, kind.replace(" ", "_"))(*args)

    async def publish(self, which, count) -> None:
        for _ in range(count):
            self.clock.advance_ns(SECOND // 10)
            name, self.made = AGGREGATES[which], self.made + 1
            self.published.append((name, len(self.published), self.clock.time_ns(), self.made))
            await self.bus.publish("risk_alert", self.made, aggregate_id=name)
        await self.bus.process_pending()

    async def policy(self, category, policy) -> None:
        self.policies[category] = policy
        self.bus.set_snapshot_policy(policy, category=category)

    async def wait(self, seconds) -> None:
        self.clock.advance_ns(int(seconds * SECOND))
        await self.bus.process_pending()

    async def by_hand(self, which) -> None:
        taken = await self.bus.take_snapshot(AGGREGATES[which])
        assert (taken is None) == (AGGREGATES[which] not in {name for name, *_ in self.published})

    async def new_reducer(self) -> None:
        self.version += 1
        self.register()

    async def old_reducer(self) -> None:
        self.version = 1
        self.register()

    async def damage(self, which, how) -> None:
        files = sorted((self.folder / "snapshots").glob("*.snap"))
        if not files:
            return
        path, other = files[which % len(files)], files[(which + 1) % len(files)]
        raw = bytearray(path.read_bytes())
        if raw:
            raw[(which * 37) % len(raw)] ^= 1 << which % 8
        if how == "delete":
            path.unlink()
        elif how == "swap":
            path.write_bytes(other.read_bytes())
        else:
            path.write_bytes({"flip": bytes(raw), "cut": bytes(raw[: len(raw) // 2]), "empty": b""}[how])

    async def stop(self) -> None:
        await self.bus.stop()
        self.begin()

    async def kill(self) -> None:
        await self.bus.initialize()
        copy_running(self.folder, self.root / str(self.count + 1))
        await self.go_on()

    async def lying_disk(self, which, count) -> None:
        await self.bus.initialize()
        after = self.root / str(self.count + 1)
        kept = len(self.published)
        copy_running(self.folder, after, without="snapshots")
        await self.publish(which, count)
        await self.bus.take_snapshot(AGGREGATES[which])
        shutil.copytree(self.folder / "snapshots", after / "snapshots")
        del self.published[kept:]
        await self.go_on()

    async def drop(self, is_all) -> None:
        await self.bus.drop_snapshots(damaged_only=not is_all)

    async def go_on(self) -> None:
        old, self.count = self.bus, self.count + 1
        await old.stop()
        self.begin()

    def expected(self, name, events):
        own = [data for other, _, _, data in events if other == name]
        return {"n": own, "by": self.version} if own else {}

    async def judge(self) -> None:
        """The states of now, and every snapshot."""
        await self.bus.initialize()
        assert [event.data for event in self.bus.log.read()] == [data for *_, data in self.published]
        for name in AGGREGATES:
            assert await self.bus.rebuild_from_events(name) == self.expected(name, self.published)
        for one in await self.bus.check_snapshots():
            assert not one.is_fault or one.verdict in FAULTS, one

    async def judge_every_bound(self) -> None:
        """Each aggregate after each of its events: by version, position and time, with snapshots and without."""
        await self.bus.initialize()
        log, recipe = self.bus.log, self.bus._snapshots.recipe
        for name in AGGREGATES:
            own = [one for one in self.published if one[0] == name]
            for at, (_, seq, time_ns, _) in enumerate(own):
                expected = self.expected(name, own[: at + 1])
                assert rebuild_to(log, name, recipe, Target(seq=seq), from_zero=True).state == expected
                for target in (Target(version=at), Target(seq=seq), Target(time_ns=time_ns)):
                    rebuilt = rebuild_to(log, name, recipe, target)
                    assert rebuilt.state == expected
                    assert rebuilt.base is None or rebuilt.base.snapshot.sequence_number <= seq


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=4, max_size=14))
@example([("publish", 0, 5), ("lying disk", 0, 4), ("publish", 0, 5), ("by hand", 0), ("publish", 0, 1)])
@example(
    [("publish", 0, 4), ("new reducer",), ("publish", 0, 1), ("old reducer",), ("kill",), ("publish", 0, 3)]
)
@example([("publish", 0, 4), ("damage", 0, "swap"), ("publish", 0, 2), ("damage", 1, "flip"), ("stop",)])
def test_a_state_is_what_its_events_make_it(life):
    async def act(folder):
        living = Life(Path(folder))
        for step in life:
            await living.step(*step)
            await living.judge()
        await living.stop()
        await living.judge_every_bound()
        await living.bus.stop()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(act(folder))


def test_the_life_notices_what_it_is_there_for(tmp_path, monkeypatch):
    """Snapshots believed without their anchor: the lying disk finds it."""
    monkeypatch.setattr("aresbus.snapshot_record.is_anchored", lambda *_: True)

    async def act():
        living = Life(tmp_path)
        for step in (("publish", 0, 5), ("lying disk", 0, 4), ("publish", 0, 5)):
            await living.step(*step)
        states = [await living.bus.rebuild_from_events(name) for name in AGGREGATES[:1]]
        own = [one for one in living.published if one[0] == "a-1"]
        assert states != [living.expected("a-1", own)]
        await living.bus.stop()

    run(act())
