"""Sealed segments as a user meets them: smaller on disk, the same to read, damage named, other processes undisturbed."""

import subprocess
import sys
import textwrap
import time

import aresbus
import pytest
from aresbus import ConfigError, CorruptionError, DiskFullError
from bad_day_support import Mount, aresbus_command

SMALL = {"segment_bytes": 64 * 1024, "audit": False}
PATIENCE_SECONDS = 60


def wait_until(condition) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def wait_until_sealed(log) -> list[dict]:
    """Every segment but the newest is sealed; the statistics of those that are."""
    wait_until(lambda: all(one["is_sealed"] for one in log.stats()["segments"][:-1]))
    return log.stats()["segments"][:-1]


def append(log, count: int) -> None:
    first = 0 if log.last_seq is None else log.last_seq + 1
    for number in range(first, first + count):
        tags = {"desk": "a"} if number % 3 == 0 else None
        data = {"number": number, "text": "much the same " * 9}
        log.append(f"type.{number % 5}", data, aggregate_id=f"agg-{number % 7}", tags=tags)


def facts(events) -> list[tuple]:
    return [
        (one.seq, one.event_id, one.event_type, one.data, one.aggregate_version, one.ts_ns) for one in events
    ]


@pytest.mark.parametrize("sealing", ["zstd", "lz4", "none"])
def test_full_segments_become_small_and_read_the_same(tmp_path, sealing):
    with aresbus.open(tmp_path / "log", sealing=sealing, **SMALL) as log:
        append(log, 2_000)
        sealed = wait_until_sealed(log)
        assert len(sealed) > 3
        used, taken = (sum(one[name] for one in sealed) for name in ("used_bytes", "file_bytes"))
        assert taken < (used / 5 if sealing != "none" else used)
        assert log.stats()["sealed_count"] == len(sealed)
        assert [event.data["number"] for event in log.read()] == list(range(2_000))
        everything = facts(log.read())
        for query in (
            {"types": "type.3"},
            {"aggregate_id": "agg-2"},
            {"tags": {"desk": "a"}, "after": 1_000},
            {"direction": "backward", "types": ["type.1", "type.2"], "limit": 300},
        ):
            wanted = [
                one
                for one in everything
                if ("types" not in query or one[2] in query["types"])
                and ("aggregate_id" not in query or one[0] % 7 == 2)
                and ("tags" not in query or one[0] % 3 == 0)
                and one[0] > query.get("after", -1)
            ]
            if query.get("direction") == "backward":
                wanted = wanted[::-1][:300]
            assert facts(log.read(**query)) == wanted, query
        assert log.verify()["findings"] == []
    with aresbus.open(tmp_path / "log", mode="r") as log:
        assert facts(log.read()) == everything
    assert aresbus_command("verify", tmp_path / "log").returncode == 0


def test_a_wrong_word_for_sealing_is_told_with_what_it_takes(tmp_path):
    with pytest.raises(ConfigError, match='sealing is "gzip", it takes "zstd", "lz4", "none" or "off"'):
        aresbus.open(tmp_path / "log", sealing="gzip")


def test_damage_in_a_sealed_segment_is_named_and_what_is_before_it_is_served(tmp_path):
    with aresbus.open(tmp_path / "log", **SMALL) as log:
        append(log, 2_000)
        number = wait_until_sealed(log)[1]["number"]
    path = tmp_path / "log" / "segments" / f"{number:016}.seg"
    sound = path.read_bytes()
    path.write_bytes(sound[:2_000] + bytes([sound[2_000] ^ 1]) + sound[2_001:])
    with aresbus.open(tmp_path / "log", **SMALL) as log:
        append(log, 1)
        served = []
        with pytest.raises(CorruptionError, match="checksum of a block") as caught:
            served.extend(event.data["number"] for event in log.read())
        assert caught.value.path == str(path)
        assert served == list(range(len(served)))
        assert len(served) > 100
        assert next(log.read(after=1_500)).data["number"] == 1_501, "other segments are whole"
        found = aresbus.verify(tmp_path / "log")["findings"]
        assert [one["path"] for one in found] == [str(path)]
        assert found[0]["first_seq"] <= len(served) + 200
    assert aresbus_command("verify", tmp_path / "log").returncode == 1
    path.write_bytes(sound)
    assert aresbus.verify(tmp_path / "log")["findings"] == []


FOLLOWER = """
import sys, aresbus
with aresbus.open(sys.argv[1], mode="r") as log:
    print("there", flush=True)
    last = -1
    for event in log.follow(timeout=60):
        assert event.data["number"] == last + 1, (event.data, last)
        last += 1
        if last == int(sys.argv[2]):
            break
    assert [event.data["number"] for event in log.read()] == list(range(last + 1))
"""


def test_a_follower_in_another_process_misses_nothing_while_segments_are_sealed_under_it(tmp_path):
    with aresbus.open(tmp_path / "log", **SMALL) as log:
        append(log, 10)
        command = [sys.executable, "-c", textwrap.dedent(FOLLOWER), str(tmp_path / "log"), "5999"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
            assert follower.stdout.readline() == "there\n"
            while log.last_seq < 5_999:
                append(log, min(250, 5_999 - log.last_seq))
                wait_until_sealed(log)
            assert follower.wait(PATIENCE_SECONDS) == 0


def test_on_a_full_disk_sealing_waits_for_room_and_then_makes_some(tmp_path):
    disk = Mount(tmp_path / "disk", "3m")
    try:
        ballast = disk.path / "ballast"
        ballast.write_bytes(bytes(1 << 20))
        count = 0
        # Raw first, so that the disk is full before anything is sealed.
        with aresbus.open(disk.path / "log", sealing="off", **SMALL) as log, pytest.raises(DiskFullError):
            while True:
                append(log, 1)
                count += 1
        ballast.unlink()
        with aresbus.open(disk.path / "log", **SMALL) as log:
            wait_until_sealed(log)
            append(log, count)
            assert log.stats()["problem"] is None
            assert [event.data["number"] for event in log.read()] == list(range(2 * count))
    finally:
        disk.unmount()
