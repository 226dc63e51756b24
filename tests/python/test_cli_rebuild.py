"""``aresbus rebuild``: a state now and as it was, by built-in and named reducers, and what stands in the way of one."""

import json
from datetime import UTC, datetime, timedelta

import aresbus
import pytest
from aresbus import EnhancedEventBus, ManualClock, RetentionPolicy
from bad_day_support import aresbus_command, contents
from bus_support import run
from test_retention import NOW_NS, drained, filled, opened, sealed

HOUR_NS = 3_600 * 10**9
REDUCERS = """
from aresbus import Reducers

def total(state, event):
    return {"total": state.get("total", 0) + event.data["qty"]}

def broken(state, event):
    raise ValueError("no such\\x1b[31m field")

def odd(state, event):
    return 5

own = Reducers()
own.register("trade_executed", total)
number = 5
"""


@pytest.fixture
def path(tmp_path):
    """Ten trades an hour apart, by turns of order-0 and order-1."""
    clock = ManualClock(NOW_NS)
    with aresbus.open(tmp_path / "log", clock=clock) as log:
        for n in range(10):
            log.append("trade_executed", {"qty": n}, aggregate_id=f"order-{n % 2}")
            clock.advance_ns(HOUR_NS)
    return tmp_path / "log"


@pytest.fixture
def program(tmp_path):
    """A file with reducers."""
    (tmp_path / "reducers.py").write_text(REDUCERS)
    return tmp_path / "reducers.py"


def rebuilt(*arguments) -> dict:
    done = aresbus_command("rebuild", *arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("bound", "quantities"),
    [
        ((), [1, 3, 5, 7, 9]),
        (("--at", 5), [1, 3, 5]),
        (("--at", 6), [1, 3, 5]),
        (("--version", 0), [1]),
        (("--version", 99), [1, 3, 5, 7, 9]),
        (("--time", NOW_NS + 3 * HOUR_NS), [1, 3]),
        (
            (
                "--time",
                (datetime.fromtimestamp(NOW_NS // 10**9, UTC) + timedelta(hours=5, seconds=1)).isoformat(),
            ),
            [1, 3, 5],
        ),
    ],
)
def test_the_state_now_and_as_it_was(path, bound, quantities):
    before = contents(path)
    shape = rebuilt(path, "order-1", *bound)
    assert shape["state"] == {"trades": [{"qty": n} for n in quantities]}
    assert (shape["seq"], shape["version"]) == (quantities[-1], len(quantities) - 1)
    assert shape["ts_ns"] == NOW_NS + quantities[-1] * HOUR_NS
    assert contents(path) == before


def test_for_people_the_place_stands_before_the_state(path):
    first, *state = aresbus_command("rebuild", path, "order-1", "--version", 0).stdout.splitlines()
    assert first.startswith("order-1 at version 0, seq 1, 20")
    assert json.loads("".join(state)) == {"trades": [{"qty": 1}]}


@pytest.mark.parametrize("name", ["total", "own"])
def test_a_function_or_a_whole_set_of_reducers_folds_it(path, program, name):
    assert rebuilt(path, "order-1", "--reducer", f"{program}:{name}")["state"] == {"total": 25}


def test_a_snapshot_of_the_bus_serves_its_own_reducers_and_no_function(path, program):
    async def take():
        async with EnhancedEventBus({"event_bus": {"storage_path": str(path)}}, strict=True) as bus:
            await bus.take_snapshot("order-1")

    run(take())
    assert rebuilt(path, "order-1")["snapshot_seq"] == 9
    assert "from the snapshot at seq 9" in aresbus_command("rebuild", path, "order-1").stdout
    folded = rebuilt(path, "order-1", "--reducer", f"{program}:total")
    assert (folded["snapshot_seq"], folded["state"]) == (None, {"total": 25})


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("broken", "AB0017", "while folding trade_executed at seq 1 into order-1"),
        ("odd", "AB0017", "a reducer returns the new state, a dict, or None"),
        ("number", "AB0010", "a reducer is a plain function of state and event, not 5"),
        ("none", "AB0010", "there is no such reducer"),
    ],
)
def test_a_reducer_that_fails_or_is_none_is_one_line(path, program, name, code, text):
    done = aresbus_command("rebuild", path, "order-1", "--reducer", f"{program}:{name}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"aresbus: [{code}]")
    assert text in done.stderr
    assert "\x1b" not in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("which", [("no\x1bbody",), ("order-1", "--at", 0)])
def test_where_there_is_no_event_it_says_so(path, which):
    done = aresbus_command("rebuild", path, *which)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"has no event of the aggregate {which[0].replace(chr(27), '�')}" in done.stderr


def test_events_that_no_reducer_knows_are_said_to_be_unknown(tmp_path):
    with aresbus.open(tmp_path / "log") as log:
        log.append("note", 1, aggregate_id="a")
    done = aresbus_command("rebuild", tmp_path / "log", "a")
    assert done.returncode == 0
    assert "name yours with --reducer" in done.stderr


def test_a_state_of_expired_events_is_refused(tmp_path):
    with opened(tmp_path / "log", ManualClock(NOW_NS)) as log:
        filled(log, 400)
        sealed(log)
        drained(log, RetentionPolicy(max_events=150))
        done = aresbus_command("rebuild", log.path, "order-3")
        assert (done.returncode, done.stdout) == (2, "")
        assert aresbus.TruncatedError.code in done.stderr


def test_one_bound_at_a_time(path):
    with pytest.raises(SystemExit) as left:
        aresbus_command("rebuild", path, "order-1", "--at", 5, "--version", 1)
    assert left.value.code == 2
