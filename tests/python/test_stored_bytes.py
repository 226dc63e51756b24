"""Bytes that Python decodes from disk, of any kind: an answer or an error that the caller expects, nothing else.

What Rust decodes is fuzzed in fuzz/; here are a snapshot's stored form and a payload that is said to be JSON.
"""

import contextlib
import json
import struct
from datetime import UTC, datetime

import aresbus
import hypothesis.strategies as st
import orjson
import pytest
from aresbus import EventSnapshot, snapshot_record
from aresbus.places import Anchor
from aresbus.snapshot_record import StoredSnapshot
from hypothesis import example, given, settings

RECORDS_OFFSET = 12_288

SOME = settings(max_examples=100, deadline=None)  # each writes a file and syncs it
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
TIME = datetime(2024, 8, 8, tzinfo=UTC)
VALID = StoredSnapshot(
    EventSnapshot("s", TIME, "a", 0, {"n": 1}), anchor=Anchor(1, 0, "e"), reducers={"t": 1}
)
FIELDS = sorted(VALID._body())
SNAPSHOT_FIELDS = sorted(VALID._body()["snapshot"])


def sealed(body: dict) -> bytes:
    """The bytes under a digest that fits: it is no authentication."""
    with contextlib.suppress(TypeError):
        body = {**body, "digest": snapshot_record._digest(body)}
    return json.dumps(body).encode()


def mutated(path: tuple[str, ...], value: object) -> bytes:
    body = VALID._body()
    target = body if len(path) == 1 else body[path[0]]
    target[path[-1]] = value
    return sealed(body)


paths = st.sampled_from([(name,) for name in FIELDS] + [("snapshot", name) for name in SNAPSHOT_FIELDS])


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    with aresbus.open(tmp_path_factory.mktemp("log")) as log:
        log.append("t", {"n": 1}, aggregate_id="a")
        yield log


def offer(log, payload: bytes) -> None:
    """As the log's user meets it, and alone."""
    with contextlib.suppress(ValueError, KeyError):
        assert isinstance(StoredSnapshot.decode(payload), StoredSnapshot)
    log._write_snapshot("a", 0, payload, 2)
    found = snapshot_record.newest_usable(log, "a")
    assert (found.stored is None) == (found.damaged == 1)


@given(payload=st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
@example(payload=b"[" * 2000)
@example(payload=b'{"format":1,"digest":"","x":' + b"[" * 500 + b"]" * 500 + b"}")
@SOME
def test_any_bytes_as_a_snapshot(log, payload):
    offer(log, payload)


@given(path=paths, value=json_values)
@example(path=("snapshot", "timestamp"), value="0001-01-01T00:00:00+14:00")
@example(path=("snapshot", "timestamp"), value="9999-12-31T23:59:59-14:00")
@example(path=("snapshot", "sequence_number"), value=-1)
@example(path=("snapshot", "sequence_number"), value=2**63)
@example(path=("kind",), value=["given"])
@SOME
def test_any_value_in_a_field_of_a_snapshot_whose_digest_fits(log, path, value):
    offer(log, mutated(path, value))


@given(at=st.integers(0, 10_000), byte=st.integers(0, 255))
@SOME
def test_a_snapshot_with_a_changed_byte(log, at, byte):
    payload = bytearray(VALID.encode())
    payload[at % len(payload)] = byte
    offer(log, bytes(payload))


# A payload


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.fixture(scope="module")
def forged(tmp_path_factory):
    """Gives the event of a log whose JSON payload was replaced under a checksum that fits."""
    path = tmp_path_factory.mktemp("forged") / "log"
    given_payload = b'"' + b"x" * 62 + b'"'
    with aresbus.open(path, segment_bytes=65_536) as log:
        log.append_bytes("t", given_payload, encoding="json")
    segment = next(iter(sorted((path / "segments").glob("*.log"))))
    whole = segment.read_bytes()
    epoch = struct.unpack_from("<I", whole, 12)[0]
    start = whole.index(given_payload)

    def event_with(payload: bytes):
        changed = bytearray(whole)
        changed[start : start + 64] = payload[:64].ljust(64)
        at = RECORDS_OFFSET
        while at + 8 <= start:
            commit = struct.unpack_from("<I", changed, at)[0]
            end = at + (commit & 0xFFFFFFF)
            if end > start:
                break
            at = end
        sum_ = crc32c(struct.pack("<II", epoch, commit) + changed[at + 8 : end])
        struct.pack_into("<I", changed, at + 4, sum_)
        segment.write_bytes(changed)
        with aresbus.open(path, mode="r") as log:
            return next(iter(log.read()))

    return event_with


@given(payload=st.binary(max_size=64) | json_values.map(lambda value: json.dumps(value).encode()))
@example(payload=b"[" * 64)
@example(payload=b'"\\ud800"')
@example(payload=b"NaN")
@SOME
def test_any_bytes_as_a_json_payload(forged, payload):
    event = forged(payload)
    assert event.event_type == "t"
    with contextlib.suppress(orjson.JSONDecodeError):
        json.dumps(event.data)
