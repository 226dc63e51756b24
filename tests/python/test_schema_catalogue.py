"""What a log records of its schemas: written once, checked at each reading, refused where it would say two things."""

import errno
import os
import stat
import subprocess
import sys
import weakref
from pathlib import Path

import aresbus
import orjson
import pytest
from aresbus import (
    CorruptionError,
    DiskFullError,
    EventVersionManager,
    FormatVersionError,
    ManualClock,
    Schema,
    SchemaConflictError,
    SchemaError,
    StorageError,
)
from aresbus.clock import Clock
from aresbus.schema import Catalogue, recorder_of

RULES = {"required_fields": ["symbol", "price"], "optional_fields": ["note"]}
TYPED = {
    "type": "object",
    "title": "A fill",
    "properties": {"symbol": {"type": "string"}, "price": {"type": "number"}},
    "required": ["symbol", "price"],
}
HOSTILE = "../../etc/passwd\x00\n\N{PILE OF POO}" + "x" * 200


def filled(event_type="fill"):
    manager = EventVersionManager()
    manager.register(event_type, TYPED, version="1.0.0")
    return manager


def record(folder, manager, **options):
    with aresbus.open(folder, **options) as log:
        return Catalogue(log).record(manager)


def load(folder):
    with aresbus.open(folder, mode="r") as log:
        return Catalogue(log).load()


def files(folder):
    return sorted((folder / "schemas").iterdir())


def file_of(folder, event_type="fill", version="1.0.0"):
    (found,) = [
        Path(one.path) for one in load(folder) if (one.event_type, one.version) == (event_type, version)
    ]
    return found


def test_a_log_describes_its_own_types(tmp_path):
    clock = ManualClock(1_700_000_000_000_000_000)
    with aresbus.open(tmp_path / "log", clock=clock) as log:
        Catalogue(log, Clock(clock)).record(filled())
    by_node = {(one.event_type, one.version): one for one in load(tmp_path / "log")}
    assert sorted(by_node) == [
        ("fill", "1.0.0"),
        ("market_data_received", "1.0.0"),
        ("market_data_received", "1.1.0"),
        ("trade_executed", "1.0.0"),
        ("trade_executed", "1.1.0"),
    ]
    one = by_node["fill", "1.0.0"]
    assert one.schema.document == TYPED
    assert one.schema.origin == "JSON Schema"
    assert one.recorded_at_ns == 1_700_000_000_000_000_000
    assert one.package_version == aresbus.__version__
    assert by_node["trade_executed", "1.1.0"].schema.rules["optional_fields"] == ["commission", "fees"]


def test_versions_are_listed_in_their_order(tmp_path):
    manager = EventVersionManager()
    for version in ("1.10.0", "1.9.0", "2.0.0-rc.1", "2.0.0", "1.0.0"):
        manager.register("t", RULES, version=version)
    record(tmp_path / "log", manager)
    listed = [one.version for one in load(tmp_path / "log") if one.event_type == "t"]
    assert listed == ["1.0.0", "1.9.0", "1.10.0", "2.0.0-rc.1", "2.0.0"]


def test_recording_again_writes_only_what_is_new(tmp_path):
    log = tmp_path / "log"
    assert len(record(log, filled())) == 5
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in files(log)}
    assert record(log, filled()) == []
    manager = filled()
    manager.register("fill", RULES | {"required_fields": []}, version="1.1.0")
    assert [(one.event_type, one.version) for one in record(log, manager)] == [("fill", "1.1.0")]
    assert {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in before} == before
    assert len(files(log)) == 6


def test_titles_and_order_make_no_new_schema(tmp_path):
    record(tmp_path / "log", filled())
    manager = EventVersionManager()
    reordered = dict(reversed(TYPED.items())) | {"title": "Another", "required": ["price", "symbol"]}
    manager.register("fill", reordered, version="1.0.0")
    assert record(tmp_path / "log", manager) == []
    assert {one.schema.document.get("title") for one in load(tmp_path / "log")} == {"A fill", None}


def test_a_different_schema_under_a_recorded_version_is_refused_before_anything_is_written(tmp_path):
    log = tmp_path / "log"
    record(log, filled())
    before = [file.read_bytes() for file in files(log)]
    manager = EventVersionManager()
    manager.register("apple", RULES, version="1.0.0")
    manager.register("fill", RULES, version="1.0.0")
    with pytest.raises(SchemaConflictError) as caught:
        record(log, manager)
    assert (caught.value.event_type, caught.value.version) == ("fill", "1.0.0")
    assert caught.value.path == str(file_of(log))
    assert [file.read_bytes() for file in files(log)] == before


def test_what_a_user_put_into_the_mappings_is_recorded_too(tmp_path):
    manager = EventVersionManager()
    manager.version_mappings["3.0.0"] = {"mine": {"required_fields": ["a"], "optional_fields": []}}
    record(tmp_path / "log", manager)
    assert [one.schema for one in load(tmp_path / "log") if one.event_type == "mine"] == [
        Schema.of({"required_fields": ["a"]})
    ]
    manager.version_mappings["3.0.0"]["mine"]["required_fields"].append("b")
    with pytest.raises(SchemaConflictError):
        record(tmp_path / "log", manager)
    manager.version_mappings["3.0.0"]["mine"] = {"required_fields": 7}
    with pytest.raises(SchemaError, match="required_fields is a list"):
        record(tmp_path / "log", manager)


def test_no_text_of_a_user_is_in_a_file_name_and_nobody_else_may_read_it(tmp_path):
    manager = EventVersionManager()
    manager.version_mappings[HOSTILE] = {HOSTILE: {"required_fields": [HOSTILE]}}
    umask = os.umask(0)
    try:
        record(tmp_path / "log", manager)
    finally:
        os.umask(umask)
    for file in files(tmp_path / "log"):
        assert set(file.stem) <= set("0123456789abcdef")
        assert len(file.stem) == 32
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "log" / "schemas").stat().st_mode) == 0o700
    assert (HOSTILE, HOSTILE) in {(one.event_type, one.version) for one in load(tmp_path / "log")}


def test_registering_is_an_act_of_the_audit_log(tmp_path):
    record(tmp_path / "log", filled(), reason="a new type")
    record(tmp_path / "log", filled())
    with aresbus.open(tmp_path / "log" / "audit", mode="r") as trail:
        acts = [event for event in trail.read() if event.event_type == "schema.register"]
    assert [event.data["phase"] for event in acts] == ["intent", "outcome"]
    assert acts[0].data["actor"]["reason"] == "a new type"
    named = acts[0].data["details"]["schemas"]
    assert {"event_type": "fill", "version": "1.0.0", "origin": "JSON Schema"}.items() <= named[0].items()
    assert acts[1].data["outcome"] == "done"


def test_a_log_without_a_trail_or_without_a_disk_is_served_too(tmp_path):
    assert len(record(tmp_path / "log", filled(), audit=False)) == 5
    assert not (tmp_path / "log" / "audit").exists()
    with aresbus.Log(None) as log:
        assert Catalogue(log).record(filled()) == []
        assert Catalogue(log).load() == []


def test_a_reader_reads_and_writes_nothing(tmp_path):
    with aresbus.open(tmp_path / "log"):
        pass
    assert load(tmp_path / "log") == []
    with aresbus.open(tmp_path / "log", mode="r") as log, pytest.raises(StorageError, match="reading only"):
        Catalogue(log).record(filled())
    assert not (tmp_path / "log" / "schemas").exists()


def test_a_recorded_log_verifies_and_has_no_stray_files(tmp_path):
    record(tmp_path / "log", filled())
    with aresbus.open(tmp_path / "log") as log:
        assert log.verify()["findings"] == []
        assert log.recovery["stray_files"] == []


def test_a_schema_is_recorded_before_it_counts_and_refused_with_nothing_left_behind(tmp_path):
    record(tmp_path / "log", filled())
    manager = EventVersionManager()
    with aresbus.open(tmp_path / "log") as log:
        manager.recorder = recorder_of(log)
        with pytest.raises(SchemaConflictError):
            manager.register("fill", RULES, version="1.0.0")
        assert manager.versions("fill") == []
        manager.register("other", RULES, version="1.0.0")
        assert ("other", "1.0.0") in {(one.event_type, one.version) for one in Catalogue(log).load()}
    manager.register("late", RULES, version="1.0.0")
    assert "late" not in {one.event_type for one in load(tmp_path / "log")}


def test_a_recorder_does_not_keep_a_log_alive(tmp_path):
    log = aresbus.open(tmp_path / "log")
    manager = EventVersionManager()
    manager.recorder = recorder_of(log)
    alive = weakref.ref(log)
    del log
    assert alive() is None
    manager.register("late", RULES, version="1.0.0")


# Damage


def test_every_single_changed_byte_is_found(tmp_path):
    log = tmp_path / "log"
    record(log, filled())
    file = file_of(log)
    whole = file.read_bytes()
    with aresbus.open(log, mode="r") as opened:
        catalogue = Catalogue(opened)
        for at in range(len(whole)):
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises((CorruptionError, FormatVersionError)) as caught:
                catalogue.load()
            assert caught.value.path == str(file)
        for size in range(len(whole)):
            file.write_bytes(whole[:size])
            with pytest.raises((CorruptionError, FormatVersionError)):
                catalogue.load()
        file.write_bytes(whole + b"\n")
        with pytest.raises(CorruptionError):
            catalogue.load()


def test_damage_stops_a_recording_before_it_writes(tmp_path):
    record(tmp_path / "log", filled())
    file_of(tmp_path / "log").write_bytes(b"")
    before = {file: file.read_bytes() for file in files(tmp_path / "log")}
    with pytest.raises(CorruptionError):
        record(tmp_path / "log", filled("other"))
    assert {file: file.read_bytes() for file in files(tmp_path / "log")} == before


def test_a_file_of_another_log_or_another_schema_is_damage(tmp_path):
    record(tmp_path / "one", filled())
    record(tmp_path / "two", filled())
    whole = file_of(tmp_path / "one").read_bytes()
    file_of(tmp_path / "two").write_bytes(whole)
    with pytest.raises(CorruptionError, match="another log"):
        load(tmp_path / "two")
    files(tmp_path / "one")[0].write_bytes(whole)
    files(tmp_path / "one")[1].write_bytes(whole)
    with pytest.raises(CorruptionError, match="has another file"):
        load(tmp_path / "one")


def test_a_newer_form_names_what_is_supported(tmp_path):
    record(tmp_path / "log", filled())
    file = file_of(tmp_path / "log")
    file.write_bytes(file.read_bytes().replace(b"aresbus-schema 1 ", b"aresbus-schema 2 ", 1))
    with pytest.raises(FormatVersionError) as caught:
        load(tmp_path / "log")
    assert (caught.value.found, caught.value.supported) == ("2", "1")


def test_what_a_crash_left_aside_is_no_schema_and_is_replaced(tmp_path):
    record(tmp_path / "log", filled())
    file = file_of(tmp_path / "log")
    aside = file.with_suffix(".tmp")
    file.rename(aside)
    aside.write_bytes(b"half a fi")
    assert ("fill", "1.0.0") not in {(one.event_type, one.version) for one in load(tmp_path / "log")}
    assert [one.event_type for one in record(tmp_path / "log", filled())] == ["fill"]
    assert not aside.exists()
    assert file.is_file()


CHILD = """
import os, sys
import aresbus
from aresbus import EventVersionManager
from aresbus.schema import Catalogue, catalogue
manager = EventVersionManager()
manager.register("fill", {"required_fields": ["a"]}, version="1.0.0")
steps = 0
def die_at(call):
    def wrapped(*arguments, **keywords):
        global steps
        steps += 1
        if steps == int(sys.argv[2]):
            os._exit(9)
        return call(*arguments, **keywords)
    return wrapped
os.fsync, os.open = die_at(os.fsync), die_at(os.open)
catalogue.Path.replace = die_at(catalogue.Path.replace)
with aresbus.open(sys.argv[1]) as log:
    Catalogue(log).record(manager)
print("done")
"""


def test_a_process_that_dies_at_any_step_leaves_whole_files_and_the_next_one_finishes(tmp_path):
    for step in range(1, 100):
        log = tmp_path / f"log{step}"
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(log), str(step)], capture_output=True, text=True, check=False
        )
        assert child.returncode in (0, 9), child.stderr
        found = load(log)
        assert len(found) <= 5
        manager = EventVersionManager()
        manager.register("fill", {"required_fields": ["a"]}, version="1.0.0")
        assert len(record(log, manager)) == 5 - len(found)
        assert len(load(log)) == 5
        if child.returncode == 0:
            assert child.stdout == "done\n"
            break
    else:
        pytest.fail("the child never got through")
    assert step > 15


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, DiskFullError), (errno.EIO, StorageError)])
def test_a_failing_disk_is_a_typed_error_and_a_failed_act(tmp_path, monkeypatch, number, kind):
    with aresbus.open(tmp_path / "log") as log:

        def refuse(_):
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", refuse)
            with pytest.raises(kind) as caught:
                Catalogue(log).record(filled())
        assert type(caught.value) is kind
        assert caught.value.errno == number
        assert len(Catalogue(log).record(filled())) == 5
    with aresbus.open(tmp_path / "log" / "audit", mode="r") as trail:
        outcomes = [
            event.data["outcome"]
            for event in trail.read()
            if event.event_type == "schema.register" and event.data["phase"] == "outcome"
        ]
    assert outcomes == ["failed", "done"]


def test_a_file_tells_a_person_what_it_is(tmp_path):
    record(tmp_path / "log", filled())
    head, body = file_of(tmp_path / "log").read_bytes().splitlines()
    assert head.startswith(b"aresbus-schema 1 ")
    assert orjson.loads(body)["document"] == TYPED
