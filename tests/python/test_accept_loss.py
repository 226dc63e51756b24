"""The audited way past damage: the log ends where it last reads, what lies behind is kept, and everybody is told what it was."""

import random
import subprocess
import sys
import time
from pathlib import Path

import aresbus
import pytest
from aresbus import ConfigError, CorruptionError, _core, read_acts
from aresbus.subscriptions import Rewound
from bus_support import Seen, make_bus, publish, run
from rescue_support import (
    RECORDS_OFFSET,
    copied,
    directory_offset,
    flip,
    numbers,
    raw_and_sealed,
    segments,
    snapshot_of,
    swap,
    wipe,
)

CHILDREN = Path(__file__).with_name("backup_children.py")
COUNT = 1_500


def damage_record(folder: Path) -> None:
    flip(segments(folder)[2], RECORDS_OFFSET + 20_000)


def damage_first(folder: Path) -> None:
    flip(segments(folder)[0], RECORDS_OFFSET + 9_000)


def damage_zeros(folder: Path) -> None:
    wipe(segments(folder)[2], RECORDS_OFFSET + 8_192, 4_096)


def damage_header(folder: Path) -> None:
    flip(segments(folder)[2], 40)


def damage_missing(folder: Path) -> None:
    segments(folder)[2].unlink()


def damage_front(folder: Path) -> None:
    segments(folder)[0].unlink()


def damage_swapped(folder: Path) -> None:
    swap(segments(folder)[2], segments(folder)[3])


def damage_cut_off(folder: Path) -> None:
    path = segments(folder)[2]
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size // 2)


def damage_directory(folder: Path) -> None:
    path = segments(folder)[2]
    flip(path, directory_offset(path) + 40)


def damage_block(folder: Path) -> None:
    flip(segments(folder)[2], 400)


RAW = [
    damage_record,
    damage_first,
    damage_zeros,
    damage_header,
    damage_missing,
    damage_front,
    damage_swapped,
    damage_cut_off,
]
SEALED = [damage_block, damage_directory, damage_header, damage_missing, damage_swapped, damage_cut_off]
CASES = [(False, one) for one in RAW] + [(True, one) for one in SEALED]
IDS = [f"{'sealed' if sealed else 'raw'}-{one.__name__}" for sealed, one in CASES]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[bool, Path]:
    return raw_and_sealed(tmp_path_factory, COUNT)


def damaged(whole, tmp_path, sealed, damage) -> Path:
    folder = copied(whole, tmp_path, sealed=sealed)
    damage(folder)
    return folder


@pytest.mark.parametrize(("sealed", "damage"), CASES, ids=IDS)
def test_the_log_ends_at_the_damage_and_goes_on(whole, tmp_path, sealed, damage):
    folder = damaged(whole, tmp_path, sealed, damage)
    kept_before = snapshot_of(folder / "segments")
    with aresbus.open(folder, recover="accept_loss", segment_bytes=65_536, sealing="off") as log:
        loss = log.recovery["loss"]
        assert loss is not None
        first = loss["first_seq"]
        assert loss["last_seq"] == COUNT - 1
        assert loss["events"] == COUNT - first
        assert 0 <= loss["readable"] < loss["events"] or damage in (damage_swapped, damage_front)
        assert [event.data["n"] for event in log.read()] == list(range(first))
        receipt = log.append("order_placed", {"n": first}, aggregate_id="order-0")
        assert receipt.seq == first
        assert log.epoch == 2
    # Strict again from now on, and nothing is wrong with it.
    assert numbers(folder) == list(range(first + 1))
    assert [one for one in aresbus.verify(folder)["findings"] if one["severity"] == "error"] == []
    # Nothing was deleted: every file that is not as it was lies in quarantine as it was.
    after = snapshot_of(folder)
    contents = set(after.values())
    spares = {name for name, content in kept_before.items() if not any(content[512:])}
    for name, content in kept_before.items():
        if name.endswith(".idx") or name in spares:
            continue
        last_segment = name == max(kept_before)
        assert content in contents or last_segment, name
    assert set(loss["quarantine_files"]) <= {name.removeprefix("quarantine/") for name in after}


def test_what_is_lost_is_as_little_as_can_be(whole, tmp_path):
    """Up to the last record before the flipped bit."""
    folder = damaged(whole, tmp_path, False, damage_record)
    with aresbus.open(segments_copy := tmp_path / "log", recover="accept_loss") as log:
        loss = log.recovery["loss"]
    assert segments_copy == folder
    assert RECORDS_OFFSET + 19_000 < loss["offset"] <= RECORDS_OFFSET + 20_000
    # Of all that is given up one event alone does not read any more.
    assert loss["readable"] == loss["events"] - 1


def test_the_intent_says_what_will_be_lost_and_the_outcome_what_was(whole, tmp_path):
    folder = damaged(whole, tmp_path, False, damage_record)
    foreseen = _core.assess_loss(folder)
    before = snapshot_of(folder)
    assert _core.assess_loss(folder) == foreseen
    assert snapshot_of(folder) == before
    with aresbus.open(folder, recover="accept_loss", reason="disk replaced"):
        pass
    (act,) = read_acts(folder, act="log.accept_loss")
    assert act.outcome == "done"
    assert act.actor["reason"] == "disk replaced"
    assert act.details == foreseen
    assert act.result == {**foreseen, "quarantine_files": act.result["quarantine_files"]}
    assert act.result["quarantine_files"]


def test_strict_is_the_default_and_says_no(whole, tmp_path):
    folder = damaged(whole, tmp_path, False, damage_record)
    before = snapshot_of(folder / "segments")
    for _ in range(2):
        with pytest.raises(CorruptionError):
            aresbus.open(folder)
    assert snapshot_of(folder / "segments") == before


def test_a_whole_log_loses_nothing(whole, tmp_path):
    folder = copied(whole, tmp_path, sealed=True)
    with aresbus.open(folder, recover="accept_loss") as log:
        assert log.recovery["loss"] is None
        assert log.recovery["clean"]
    assert read_acts(folder, act="log.accept_loss") == []
    assert numbers(folder) == list(range(COUNT))


def test_a_new_log_is_made_as_ever(tmp_path):
    with aresbus.open(tmp_path / "log", recover="accept_loss") as log:
        assert log.recovery["created"]


def test_meta_is_not_guessed(whole, tmp_path):
    folder = damaged(whole, tmp_path, False, lambda path: wipe(path / "META", 0, 8_192))
    before = snapshot_of(folder / "segments")
    with pytest.raises(CorruptionError, match="META"):
        aresbus.open(folder, recover="accept_loss")
    assert snapshot_of(folder / "segments") == before


def test_a_reader_accepts_nothing(whole):
    with pytest.raises(ConfigError, match="accept_loss"):
        aresbus.open(whole[False], mode="r", recover="accept_loss")
    with pytest.raises(ConfigError, match="recover"):
        aresbus.open(whole[False], recover="please")


def test_twice_in_the_same_segment_keeps_both(whole, tmp_path):
    folder = damaged(whole, tmp_path, False, damage_record)
    with aresbus.open(folder, recover="accept_loss") as log:
        first = log.recovery["loss"]
    flip(segments(folder)[2], RECORDS_OFFSET + 2_000)
    with aresbus.open(folder, recover="accept_loss") as log:
        second = log.recovery["loss"]
        assert second["first_seq"] < first["first_seq"] == second["last_seq"] + 1
    assert not set(first["quarantine_files"]) & set(second["quarantine_files"])
    kept = {one.name for one in (folder / "quarantine").iterdir()}
    assert {*first["quarantine_files"], *second["quarantine_files"]} <= kept


@pytest.mark.parametrize("sealed", [False, True])
def test_killed_in_the_middle_it_is_done_again(whole, tmp_path, sealed):
    """At random moments, over and over; nothing but the damage is ever lost, and all that was given up is kept."""
    chance = random.Random(sealed)
    folder = damaged(whole, tmp_path, sealed, damage_block if sealed else damage_record)
    foreseen = _core.assess_loss(folder)
    given_up = [one.read_bytes() for one in segments(folder)[2:-1]]
    for _ in range(12):
        command = [sys.executable, str(CHILDREN), "accept", str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as accepting:
            try:
                assert accepting.stdout.readline() == "begun\n"
                deadline = time.monotonic() + chance.random() * 0.06
                while time.monotonic() < deadline and accepting.poll() is None:
                    time.sleep(0.0005)
            finally:
                accepting.kill()
        again = _core.assess_loss(folder)
        if again is None:
            break
        assert again["first_seq"] == foreseen["first_seq"]
        assert again["last_seq"] <= foreseen["last_seq"]
    with aresbus.open(folder, recover="accept_loss", sealing="off") as log:
        assert log.last_seq == foreseen["first_seq"] - 1
    assert numbers(folder) == list(range(foreseen["first_seq"]))
    kept = set(snapshot_of(folder / "quarantine").values())
    assert all(content in kept for content in given_up)
    assert read_acts(folder, act="log.accept_loss")[0].details == foreseen


def test_a_durable_subscription_that_knows_lost_events_is_told(tmp_path):
    folder = tmp_path / "log"

    async def act():
        options = {"segment_bytes": 65_536, "sealing": "off"}
        async with make_bus(folder, log_options=options) as bus:
            seen = Seen()
            bus.subscribe("risk_alert", seen, name="desk", after="start")
            await publish(bus, *range(900))
            await bus.process_pending()
            bus.log.sync()
        assert seen == list(range(900))
        flip(segments(folder)[0], RECORDS_OFFSET + 30_000)
        again, messages = Seen(), []
        async with make_bus(folder, log_options={**options, "recover": "accept_loss"}) as bus:
            first = bus.log.recovery["loss"]["first_seq"]
            assert 0 < first < 900
            bus.subscribe("risk_alert", again, name="desk", on_message=messages.append)
            await publish(bus, 10_000)
            await bus.process_pending()
        assert again == [10_000]
        assert [(one.from_seq, one.to_seq) for one in messages if isinstance(one, Rewound)] == [(899, first)]

    run(act())


def test_by_the_command_line(whole, tmp_path, capsys):
    from aresbus.cli import main

    folder = damaged(whole, tmp_path, True, damage_block)
    before = snapshot_of(folder)
    assert main(["repair", str(folder), "--accept-loss", "--dry-run"]) == 1
    assert "would be given up" in capsys.readouterr().out
    assert snapshot_of(folder) == before
    assert main(["repair", str(folder), "--accept-loss", "--reason", "a test"]) == 0
    said = capsys.readouterr().out
    assert "given up" in said
    assert "quarantine" in said
    assert main(["repair", str(folder), "--accept-loss"]) == 0
    assert "nothing is damaged" in capsys.readouterr().out
