"""`aresbus subscriptions` and `aresbus parked`: what is set aside can be seen, tried again and given up from outside."""

import json
from pathlib import Path

import pytest
from aresbus import read_acts
from aresbus.cli import main
from bus_support import make_bus, run


@pytest.fixture
def log(tmp_path):
    """A log whose subscription "desk" has three deliveries parked."""

    async def act():
        bus = make_bus(tmp_path)
        await bus.initialize()
        bus.subscribe("risk_alert", lambda event: 1 / 0, name="desk", max_retries=0)
        for n in range(3):
            await bus.publish("risk_alert", n, aggregate_id="a")
        await bus.process_pending()
        await bus.stop()

    run(act())
    return str(tmp_path)


def test_subscriptions_and_their_parked_deliveries_are_listed(log, capsys):
    assert main(["subscriptions", log, "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one == {"name": "desk", "checkpoint": 2, "lag": 0, "parked": 3}
    assert main(["parked", log, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [(each["seq"], each["attempts"], each["is_queued"]) for each in found] == [
        (0, 1, False),
        (1, 0, True),
        (2, 0, True),
    ]
    assert "ZeroDivisionError" in found[0]["reason"]
    assert main(["parked", log, "--name", "desk"]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_dropping_and_redelivering_from_outside_is_recorded(log, capsys):
    assert main(["parked", "drop", log, "--name", "desk", "--seq", "1"]) == 0
    assert main(["parked", "redeliver", log, "--name", "desk"]) == 0
    seen = []

    async def act():
        async with make_bus(log) as bus:
            mine = bus.subscribe("risk_alert", lambda event: seen.append(event.data), name="desk")
            while mine.requests or mine.parked():
                await bus.publish("system_error", 0)

    run(act())
    assert seen == [0, 2]
    assert main(["parked", log]) == 0
    acts = [(one.name, one.outcome, one.result.get("seqs")) for one in read_acts(log)]
    assert ("parked.drop", "done", [1]) in acts
    assert ("parked.redeliver", "done", [0, 2]) in acts


def test_it_is_refused_while_the_subscription_runs_and_for_an_unknown_name(log, capsys):
    async def act():
        async with make_bus(log) as bus:
            bus.subscribe("risk_alert", print, name="desk")
            assert main(["parked", "drop", log, "--name", "desk"]) == 2
            assert main(["parked", log]) == 1, "looking is always allowed"

    run(act())
    assert "'desk' is in use" in capsys.readouterr().err
    assert main(["parked", "drop", log, "--name", "nobody"]) == 2
    assert main(["parked", log, "--name", "nobody"]) == 2
    assert "nobody" in capsys.readouterr().err


def test_verify_looks_into_subscriptions_and_schemas(log, capsys):
    assert main(["verify", log, "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)["checked"]
    assert sum("/subscriptions/" in path for path in checked) == 1
    recorded = next(Path(log, "schemas").iterdir())
    damaged = bytearray(recorded.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    recorded.write_bytes(damaged)
    assert main(["verify", log]) == 1
    assert "schema" in capsys.readouterr().out
    memory = next(Path(log, "subscriptions").iterdir())
    for segment in (memory / "segments").glob("*.log"):
        segment.write_bytes(segment.read_bytes().replace(b'"desk"', b'"disk"'))
    assert main(["verify", log, "--json"]) == 1
    checked = json.loads(capsys.readouterr().out)["checked"]
    (of_memory,) = (result for path, result in checked.items() if path == str(memory))
    assert of_memory["findings"]
