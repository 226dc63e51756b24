"""Damage as Python sees it: bits that flipped below the watermark, files cut off, lost, foreign or of a newer version.

Each is refused with where and what; nothing is invented, and an opening that is refused changes nothing.
"""

import os
import shutil
import threading

import aresbus
import pytest
from aresbus import CorruptionError, EnhancedEventBus, FormatVersionError, setup_enhanced_event_bus
from bad_day_support import (
    RECORDS_OFFSET,
    aresbus_command,
    check_error,
    contents,
    first_segment,
    flip,
    make_log,
    numbers,
    refused,
)
from bus_support import make_bus, run

VERSION_OFFSET = 8
META_COPIES = (0, 4096)
BOTH_MODES = pytest.mark.parametrize("mode", ["r", "rw"])


@pytest.fixture
def log(tmp_path):
    return make_log(tmp_path / "log")


def used_bytes(path) -> int:
    with aresbus.open(path, mode="r") as log:
        return log.stats()["segments"][0]["used_bytes"]


def check_refused(path, kind, /, *names, **fields):
    """Readers and writers hear the same, a bus too, and no byte changes."""
    before = contents(path)
    for mode in ("r", "rw"):
        with refused(kind, *names, **fields):
            aresbus.open(path, mode=mode)
    bus = EnhancedEventBus({"event_bus": {"storage_path": str(path)}})
    assert run(bus.initialize()) is False
    check_error(bus.last_error, kind, *names, **fields)
    with refused(kind, *names, **fields):
        run(bus.publish("risk_alert", 1))
    with refused(kind, *names, **fields):
        run(make_bus(path).initialize())
    assert run(setup_enhanced_event_bus({"event_bus": {"storage_path": str(path)}})) is None
    done = aresbus_command("read", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"aresbus: [{kind.code}] ")
    assert contents(path) == before


# Bits


def test_a_flipped_bit_in_a_record_is_refused_with_path_and_offset(log):
    segment = first_segment(log)
    flip(segment, RECORDS_OFFSET + 20, bit=3)
    check_refused(log, CorruptionError, segment, path=str(segment), offset=RECORDS_OFFSET)


def test_each_flipped_bit_of_the_records_is_refused_or_costs_nothing(log):
    segment, whole = first_segment(log), [0, 1, 2, 3, 4]
    last, refusals = used_bytes(log), 0
    for offset in range(RECORDS_OFFSET, last):
        flip(segment, offset, bit=offset % 8)
        with pytest.raises(CorruptionError) as caught:
            numbers(log)
        assert caught.value.path == str(segment)
        assert RECORDS_OFFSET <= caught.value.offset <= offset, "the record that holds the byte"
        refusals += 1
        flip(segment, offset, bit=offset % 8)
    assert refusals > 300
    assert numbers(log) == whole


@pytest.mark.parametrize("copy", META_COPIES)
def test_damage_to_one_copy_of_meta_costs_nothing(log, copy):
    for offset in range(0, 256, 7):
        flip(log / "META", copy + offset)
        assert numbers(log) == [0, 1, 2, 3, 4]
        assert any(finding["path"].endswith("META") for finding in aresbus.verify(log)["findings"])
        flip(log / "META", copy + offset)
    flip(log / "META", copy + 100)
    with aresbus.open(log) as writer:
        assert writer.append("note", 5).seq == 5
    assert numbers(log) == [0, 1, 2, 3, 4, 5]


def test_damage_to_both_copies_of_meta_is_refused(log):
    for copy in META_COPIES:
        flip(log / "META", copy + 100)
    check_refused(log, CorruptionError, log / "META", path=str(log / "META"), offset=0)


@BOTH_MODES
def test_a_flipped_bit_in_a_header_is_refused(log, mode):
    segment = first_segment(log)
    flip(segment, 50)
    with refused(
        CorruptionError, segment, path=str(segment), offset=0, reason="its header checksum does not fit"
    ):
        aresbus.open(log, mode=mode)


@pytest.fixture
def long_log(tmp_path):
    """A log of seven segments."""
    return make_log(tmp_path / "log", 300, segment_bytes=64 * 1024, padding=1000, sealing="off")


def segment_files(path) -> list:
    """The segments that hold events, oldest first."""
    with aresbus.open(path, mode="r") as log:
        return [path / "segments" / f"{one['number']:016}.log" for one in log.stats()["segments"]]


def test_everything_before_the_damage_is_served_then_the_error(long_log):
    segment = segment_files(long_log)[2]
    with aresbus.open(long_log, sealing="off") as writer:
        flip(segment, RECORDS_OFFSET + 20_000)
        served = []
        with refused(CorruptionError, segment, path=str(segment)) as caught:
            served.extend(event.data[0] for event in writer.read())
        assert served == list(range(len(served)))
        assert len(served) > 110, "two segments and a third of the next"
        assert RECORDS_OFFSET < caught.value.offset <= RECORDS_OFFSET + 20_000
        with refused(CorruptionError, segment):
            list(writer.read(after=served[-1]))
        assert [event.data[0] for event in writer.read(up_to=served[-1])] == served
        after = served[-1] + 60
        assert next(writer.read(after=after)).data[0] == after + 1, "other segments are whole"
        flip(segment, RECORDS_OFFSET + 20_000)
        assert [event.data[0] for event in writer.read()] == list(range(300))


def test_no_iterator_steps_over_damage(long_log):
    segment = segment_files(long_log)[2]
    with aresbus.open(long_log, sealing="off") as writer:
        flip(segment, RECORDS_OFFSET + 20_000)
        for events in (writer.read(), writer.read(aggregate_id="a"), writer.follow(timeout=0.01)):
            served = []
            for _ in range(400):
                try:
                    served.append(next(events).data[0])
                except (CorruptionError, StopIteration):
                    continue
            assert served == list(range(len(served))), "no hole, however often one asks"
        flip(segment, RECORDS_OFFSET + 20_000)


def test_verify_finds_the_damage_of_every_segment_not_of_the_first(long_log):
    damaged = [segment_files(long_log)[number] for number in (1, 3, -1)]
    for segment in damaged:
        flip(segment, RECORDS_OFFSET + 2000)
    assert aresbus_command("verify", long_log, "--json").returncode == 1
    findings = [one for one in aresbus.verify(long_log)["findings"] if one["severity"] == "error"]
    places = {(one["path"], one["offset"] > 0) for one in findings}
    assert places >= {(str(segment), True) for segment in damaged}


def test_a_finding_says_which_events_it_touches(long_log):
    flip(segment_files(long_log)[1], RECORDS_OFFSET + 2000)
    (finding,) = [one for one in aresbus.verify(long_log)["findings"] if one["kind"] == "opening"]
    assert finding["first_seq"] is not None
    assert finding["last_seq"] >= finding["first_seq"]


def test_what_is_damaged_under_an_open_log_is_never_served(tmp_path):
    with aresbus.open(tmp_path / "log") as writer:
        receipts = [writer.append("note", number) for number in range(200)]
        writer.sync()
        segment = first_segment(tmp_path / "log")
        middle = RECORDS_OFFSET + (writer.stats()["segments"][0]["used_bytes"] - RECORDS_OFFSET) // 2
        flip(segment, middle)
        served = []
        with refused(CorruptionError, segment, path=str(segment)) as caught:
            served.extend(event.data for event in writer.read())
        assert served == list(range(len(served)))
        assert 0 < len(served) < 200
        assert caught.value.offset <= middle
        assert writer.append("note", 200).seq == len(receipts), "appends do not read"
        flip(segment, middle)
        assert [event.data for event in writer.read()] == list(range(201))


def test_a_bus_meets_damage_when_it_reads_back(tmp_path):
    async def act():
        async with make_bus(tmp_path, max_history=1) as bus:
            for number in range(100):
                await bus.publish("risk_alert", number, durability="group")
            segment = first_segment(tmp_path)
            flip(segment, RECORDS_OFFSET + 1000)
            with refused(CorruptionError, segment, path=str(segment)):
                await bus.replay_events()
            assert await bus.publish("risk_alert", 100), "publishing goes on"
            flip(segment, RECORDS_OFFSET + 1000)
            assert [event.data for event in await bus.replay_events()] == list(range(101))

    run(act())


# Files: cut off, lost, foreign, of another log


def test_a_segment_cut_off_at_any_place_is_refused(log):
    segment = first_segment(log)
    whole = segment.read_bytes()
    for size in (0, 1, 127, 128, 4095, RECORDS_OFFSET, RECORDS_OFFSET + 100, len(whole) - 1):
        segment.write_bytes(whole[:size])
        for mode in ("r", "rw"):
            with refused(CorruptionError, segment, path=str(segment)):
                aresbus.open(log, mode=mode)
        assert segment.stat().st_size == size
    segment.write_bytes(whole)
    assert numbers(log) == [0, 1, 2, 3, 4]


@BOTH_MODES
def test_meta_cut_off_is_refused_and_half_of_it_is_enough(log, mode):
    whole = (log / "META").read_bytes()
    for size in (0, 1, 255):
        (log / "META").write_bytes(whole[:size])
        with refused(CorruptionError, log / "META", path=str(log / "META"), offset=0):
            aresbus.open(log, mode=mode)
    (log / "META").write_bytes(whole[:4096])
    assert numbers(log) == [0, 1, 2, 3, 4]


def test_a_lost_segment_is_refused_by_name(tmp_path):
    log = make_log(tmp_path / "log", 2000, segment_bytes=64 * 1024, sealing="off")
    segments = sorted((log / "segments").iterdir())
    kept = tmp_path / "kept"
    with aresbus.open(log, mode="r") as reader:
        used = {segment["number"] for segment in reader.stats()["segments"]}
    assert len(used) > 2
    for segment in segments:
        if int(segment.stem) not in used:
            continue
        segment.rename(kept)
        for mode in ("r", "rw"):
            with pytest.raises(CorruptionError) as caught:
                aresbus.open(log, mode=mode)
            check_error(caught.value, CorruptionError)
            before = log / "segments" / f"{int(segment.stem) - 1:016}.log"
            assert caught.value.path in {str(segment), str(before)}, "the lost file, or the one that names it"
        kept.rename(segment)
    assert numbers(log) == list(range(2000))


def test_all_segments_lost_or_meta_lost_is_refused_and_no_new_log_is_made(log):
    (log / "META").rename(log.parent / "kept")
    check_refused(log, CorruptionError, log / "META", "META is missing", path=str(log / "META"))
    assert not (log / "META").exists()
    (log.parent / "kept").rename(log / "META")
    shutil.rmtree(log / "segments")
    for mode in ("r", "rw"):
        with refused(CorruptionError, log / "segments", "the file is missing"):
            aresbus.open(log, mode=mode)


@pytest.mark.parametrize("name", ["META", "segments/0000000000000001.log", "segments/0000000000000009.log"])
@pytest.mark.parametrize("content", [b"", b"hello\n" * 4000, bytes(20_000)], ids=["empty", "text", "zeros"])
def test_a_foreign_file_under_a_name_of_ours_is_refused_and_left_alone(log, name, content):
    path = log / name
    path.write_bytes(content)
    for mode in ("r", "rw"):
        with refused(CorruptionError, path, path=str(path), offset=0):
            aresbus.open(log, mode=mode)
    assert path.read_bytes() == content
    done = aresbus_command("verify", log)
    assert done.returncode == 1
    assert str(path) in done.stdout


def test_a_segment_of_another_log_is_refused(log, tmp_path):
    other = make_log(tmp_path / "other", 3)
    shutil.copy(first_segment(other), first_segment(log))
    check_refused(
        log, CorruptionError, first_segment(log), "belongs to another log", path=str(first_segment(log))
    )
    assert numbers(other) == [0, 1, 2]


def test_meta_of_another_log_is_refused(log, tmp_path):
    other = make_log(tmp_path / "other", 3)
    shutil.copy(other / "META", log / "META")
    check_refused(log, CorruptionError, first_segment(log), "belongs to another log")


def test_a_segment_under_another_number_is_refused(log):
    twin = log / "segments" / "0000000000000007.log"
    shutil.copy(first_segment(log), twin)
    check_refused(log, CorruptionError, twin, "number is 1", path=str(twin))


def test_an_older_copy_of_meta_over_a_newer_log_is_refused_or_costs_nothing(log):
    old = (log / "META").read_bytes()
    with aresbus.open(log) as writer:
        writer.append("note", 5)
    new = (log / "META").read_bytes()
    (log / "META").write_bytes(old)
    try:
        with aresbus.open(log) as writer:
            assert [event.data for event in writer.read()] == [0, 1, 2, 3, 4, 5]
    except CorruptionError as error:
        # It may name a spare that has gone since.
        check_error(error, CorruptionError, "META names it")
        (log / "META").write_bytes(new)
        assert numbers(log) == [0, 1, 2, 3, 4, 5]


# Newer versions


def test_a_newer_version_of_meta_is_named_with_what_is_supported(log):
    for copy in META_COPIES:
        flip(log / "META", copy + VERSION_OFFSET, bit=1)
    newer = aresbus.FORMAT_VERSION ^ 2
    check_refused(log, FormatVersionError, log / "META", str(newer), path=str(log / "META"))
    with pytest.raises(FormatVersionError) as caught:
        aresbus.open(log)
    assert str(newer) in caught.value.found
    assert str(aresbus.FORMAT_VERSION) in caught.value.supported


def test_a_newer_version_of_a_segment_is_named(log):
    segment = first_segment(log)
    flip(segment, VERSION_OFFSET, bit=1)
    check_refused(log, FormatVersionError, segment, path=str(segment))


# The audit log


def test_a_damaged_audit_log_keeps_nobody_from_the_events(log):
    segment = first_segment(log / "audit")
    flip(segment, RECORDS_OFFSET + 20)
    with refused(CorruptionError, segment, path=str(segment)):
        aresbus.open(log)
    assert numbers(log) == [0, 1, 2, 3, 4]
    with aresbus.open(log, audit=False) as writer:
        assert writer.append("note", 5).seq == 5
    done = aresbus_command("verify", log)
    assert done.returncode == 1
    assert str(segment) in done.stdout


def test_refusals_release_the_lock_and_their_threads(log):
    flip(first_segment(log), RECORDS_OFFSET + 20)
    before = threading.active_count()
    for _ in range(20):
        with pytest.raises(CorruptionError):
            aresbus.open(log)
    flip(first_segment(log), RECORDS_OFFSET + 20)
    assert threading.active_count() == before
    with aresbus.open(log) as writer:
        assert writer.recovery["clean"]
        assert len(os.listdir("/proc/self/fd")) < 100  # noqa: PTH208
