"""Side effects in a replay: held back unless allowed by name, counted either way, and on record where they are allowed."""

import asyncio
import threading

import aresbus
import pytest
from aresbus import HandlerError, Replay, gate, sink
from aresbus.errors import EffectBlockedError
from bus_support import make_bus, run
from replay_support import ORDER, TICK, write_ticks

SENT = []


@sink("broker")
def send(order):
    """What a docstring says."""
    SENT.append(order)
    return f"id-{order}"


@sink("mail")
async def mail(text):
    SENT.append(text)
    return "sent"


@pytest.fixture(autouse=True)
def nothing_sent():
    SENT.clear()


@pytest.fixture
def log():
    return write_ticks(None, 3)


def with_handler(log, handler, **options):
    replay = Replay(log, **options)
    replay.subscribe(TICK, handler)
    return replay


def test_a_marked_function_is_not_called_and_gives_none(log):
    answers = []
    replay = with_handler(log, lambda event: answers.append(send(event.data["n"])))
    report = replay.run()
    assert (SENT, answers) == ([], [None, None, None])
    assert (report.blocked, report.performed) == ({"broker": 3}, {})
    assert [(one.sink, one.call, one.seq) for one in replay.blocked] == [
        ("broker", "send", n) for n in range(3)
    ]
    assert [one.event_id for one in replay.blocked] == [event.event_id for event in log.read()]


def test_a_marked_coroutine_function_is_held_back_too(log):
    answers = []

    async def handler(event):
        answers.append(await mail("x"))

    assert with_handler(log, handler).run().blocked == {"mail": 3}
    assert (SENT, answers) == ([], [None, None, None])


def test_what_stands_in_gets_the_same_arguments(log):
    async def later(order, *, size):
        return ("later", order, size)

    @sink("broker", instead=lambda order, *, size: ("instead", order, size))
    def quick(order, *, size):
        raise AssertionError

    @sink("broker", instead=later)
    async def slow(order, *, size):
        raise AssertionError

    @sink("broker", instead=lambda order, *, size: ("at once", order, size))
    async def mixed(order, *, size):
        raise AssertionError

    answers = []

    async def handler(event):
        answers.append(quick(1, size=2))
        answers.append(await slow(3, size=4))
        answers.append(await mixed(5, size=6))

    with_handler(log, handler, up_to=0).run()
    assert answers == [("instead", 1, 2), ("later", 3, 4), ("at once", 5, 6)]


def test_only_what_is_allowed_by_name_acts(log):
    async def handler(event):
        assert send(event.data["n"]) == f"id-{event.data['n']}"
        assert await mail("x") is None

    report = with_handler(log, handler, allow="broker").run()
    assert SENT == [0, 1, 2]
    assert (report.performed, report.blocked) == ({"broker": 3}, {"mail": 3})


def test_a_gate_raises_and_the_replay_stops(log):
    def handler(event):
        with gate("payments"):
            SENT.append("paid")

    with pytest.raises(HandlerError) as raised:
        with_handler(log, handler).run()
    blocked = raised.value.__cause__
    assert isinstance(blocked, EffectBlockedError)
    assert (blocked.code, blocked.sink, blocked.seq) == ("AB0023", "payments", 0)
    assert SENT == []
    assert with_handler(log, handler, allow=["payments"]).run().performed == {"payments": 3}
    assert SENT == ["paid"] * 3


def test_outside_of_a_replay_a_mark_changes_nothing(log, tmp_path):
    assert send(1) == "id-1"
    assert asyncio.run(mail("y")) == "sent"
    with gate("payments"):
        SENT.append("paid")
    assert (send.__name__, send.__doc__) == ("send", "What a docstring says.")

    async def live():
        async with make_bus(tmp_path / "log") as bus:
            bus.subscribe(TICK, lambda event: send(event.data["n"]))
            await bus.publish(TICK, {"n": 7})

    run(live())
    assert SENT == [1, "y", "paid", 7]
    with_handler(log, lambda event: send(event.data["n"])).run()
    assert send(8) == "id-8"
    assert SENT[4:] == [8]


def test_a_live_bus_acts_while_a_replay_of_the_same_handler_does_not(log, tmp_path):
    """Both on one loop, at the same time."""

    async def scenario():
        meet = asyncio.Barrier(2)

        async def handler(event):
            await meet.wait()
            send((event.is_replay, event.data["n"]))

        async with make_bus(tmp_path / "log") as bus:
            bus.subscribe(TICK, handler)
            for number in range(3):
                await bus.publish(TICK, {"n": number})
            await with_handler(log, handler).run_async()

    run(scenario())
    assert SENT == [(False, 0), (False, 1), (False, 2)]


def test_tasks_and_threads_of_a_handler_are_inside(log):
    async def handler(event):
        await asyncio.gather(asyncio.create_task(mail("task")), asyncio.to_thread(send, "thread"))

    assert with_handler(log, handler).run().blocked == {"mail": 3, "broker": 3}
    assert SENT == []


def test_a_thread_started_by_other_means_is_outside_as_documented(log):
    def handler(event):
        thread = threading.Thread(target=send, args=(event.data["n"],))
        thread.start()
        thread.join()

    assert with_handler(log, handler, up_to=0).run().blocked == {}
    assert SENT == [0]


def test_what_follows_from_published_events_is_held_back_too(log):
    replay = with_handler(log, lambda event: replay.publish(ORDER, {"n": event.data["n"]}))
    replay.subscribe(ORDER, lambda event: send(event.data["n"]))
    assert replay.run().blocked == {"broker": 3}
    assert replay.blocked[1].seq == 1
    assert replay.blocked[1].event_id == list(replay.output.read())[1].event_id


def test_allowed_effects_are_on_record_before_they_happen_and_after(tmp_path):
    def handler(event):
        entries = list(aresbus._core.Log(tmp_path / "log" / "audit", mode="r").read())
        SENT.append((entries[-1].event_type, entries[-1].data["phase"]))
        send(event.data["n"])

    with write_ticks(tmp_path / "log", 2) as log:
        with_handler(log, handler, allow=["broker", "mail"]).run()
        with_handler(log, lambda event: send(event.data["n"])).run()  # holds everything back: no act
    assert SENT == [("replay.effects", "intent"), 0, ("replay.effects", "intent"), 1]
    entries = [
        event.data
        for event in aresbus._core.Log(tmp_path / "log" / "audit", mode="r").read(types="replay.effects")
    ]
    assert [entry["phase"] for entry in entries] == ["intent", "outcome"]
    assert entries[0]["details"] == {"allowed": ["broker", "mail"], "position": None, "up_to": 1}
    assert entries[1]["outcome"] == "done"
    assert entries[1]["details"] == {"position": 1, "performed": {"broker": 2}}


def test_a_replay_with_effects_that_fails_is_on_record_with_its_error(tmp_path):
    def handler(event):
        send(event.data["n"])
        raise LookupError("no")

    with write_ticks(tmp_path / "log", 2) as log, pytest.raises(HandlerError):
        with_handler(log, handler, allow=["broker"]).run()
    *_, last = aresbus._core.Log(tmp_path / "log" / "audit", mode="r").read(types="replay.effects")
    assert last.data["outcome"] == "failed"
    assert "HandlerError" in last.data["details"]["error"]
    assert last.data["details"]["performed"] == {"broker": 1}


def test_a_reader_keeps_its_record_in_a_trail_of_its_own(tmp_path):
    write_ticks(tmp_path / "log", 2).close()
    with aresbus.open(tmp_path / "log", mode="r") as log:
        with_handler(log, lambda event: send(event.data["n"]), allow=["broker"]).run()
        acts = [one for one in aresbus.read_acts(log) if one.name == "replay.effects"]
    assert SENT == [0, 1]
    assert [one.outcome for one in acts] == ["done"]


def test_where_no_record_can_be_kept_nothing_is_allowed(tmp_path, monkeypatch):
    write_ticks(tmp_path / "log", 2).close()

    def refuse(log):
        raise PermissionError(13, "not yours", log.path)

    monkeypatch.setattr("aresbus.replay.face.reader_trail", refuse)
    with aresbus.open(tmp_path / "log", mode="r") as log:
        with pytest.raises(PermissionError):
            Replay(log, allow=["broker"], output=tmp_path / "out")
        assert not (tmp_path / "out").exists()
        from aresbus.audit import AuditTrail

        trail = AuditTrail(str(tmp_path / "mine"))
        with_handler(log, lambda event: send(event.data["n"]), allow=["broker"], trail=trail).run()
        trail.close()
    assert SENT == [0, 1]
    acts = list(aresbus._core.Log(tmp_path / "mine" / "audit", mode="r").read())
    assert [event.event_type for event in acts] == ["replay.effects"] * 2


def test_a_log_whose_owner_keeps_no_record_is_taken_at_its_word(tmp_path):
    write_ticks(tmp_path / "log", 1).close()
    with aresbus.open(tmp_path / "log", audit=False) as log:
        with_handler(log, lambda event: send(event.data["n"]), allow=["broker"]).run()
    assert SENT == [0]
