"""How a line of a capture is read: what it becomes, and which lines are refused. Owns no log; runs on plain bytes."""

import gzip
import io

import pytest
from aresbus.cli.lines import BadLineError, BrokenFeedError, parse_line, read_feed
from aresbus.market_day import CAPTURES

TRADE = b'{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT","p":"61800.30"}}'


def test_a_message_is_taken_apart():
    message = parse_line(b"1723161255088176367 " + TRADE + b"\n", "binance-usdm")
    assert message.event_type == "trade"
    assert message.aggregate_id == "binance-usdm:BTCUSDT"
    assert message.payload == TRADE
    assert message.time_ns == 1723161255088176367


@pytest.mark.parametrize(
    ("feed", "event_type"),
    [
        ("btcusdt@depth@100ms", "depth"),
        ("btcusdt@bookTicker", "bookTicker"),
        ("!ticker@arr", "arr"),
        ("btcusdt", "snapshot"),
        ("btcusdt@", "snapshot"),
        ("btcusdt@@0ms", "snapshot"),
        ("", "snapshot"),
        ("btcusdt@größe", "größe"),
    ],
)
def test_the_type_stands_between_the_first_and_the_second_at(feed, event_type):
    assert parse_line(f'1 {{"stream":"{feed}","data":{{}}}}'.encode(), "x").event_type == event_type


@pytest.mark.parametrize(
    "payload",
    [
        b'{"lastUpdateId":1,"bids":[]}',
        b'{"stream":7}',
        b'{"stream":"a@b","data":[]}',
        b'{"stream":"a@b","data":{"s":null}}',
        b'{"stream":"a@b","data":{"s":""}}',
    ],
)
def test_without_a_symbol_there_is_no_aggregate(payload):
    assert parse_line(b"1 " + payload, "x").aggregate_id is None


@pytest.mark.parametrize(
    "payload", [b' {"a": 1}', b'{"a": 1}\r', b'{"a":\t1e4}', b'{"a":1,"a":2}', b'{"\\u0061":1.0}']
)
def test_the_payload_is_kept_byte_for_byte(payload):
    assert parse_line(b"1 " + payload + b"\n", "x").payload == payload


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "one space between"),
        (b"\n", "one space between"),
        (b"17\n", "one space between"),
        (b"17 \n", "one space between"),
        (b"17  \n", "one space between"),
        (b" {}", "no count of nanoseconds"),
        (b"-1 {}", "no count of nanoseconds"),
        (b"1.5 {}", "no count of nanoseconds"),
        ("\N{ARABIC-INDIC DIGIT ONE} {}".encode(), "no count of nanoseconds"),
        (b"9223372036854775808 {}", "no count of nanoseconds"),
        (b"9" * 5000 + b" {}", "no count of nanoseconds"),
        (b"17 {", "no JSON"),
        (b'17 {"a":"\xff"}', "no JSON"),
        (b"17 {} {}", "no JSON"),
        (b"17 NaN", "no JSON"),
        (b"17 18", "no JSON object"),
        (b"17 []", "no JSON object"),
    ],
)
def test_a_bad_line_is_refused_with_its_reason(line, reason):
    with pytest.raises(BadLineError, match=reason):
        parse_line(line, "x")


def test_gzip_is_told_by_its_first_bytes():
    plain = b"1 {}\n2 {}\n"
    for stored in (plain, gzip.compress(plain), gzip.compress(plain[:5]) + gzip.compress(plain[5:])):
        assert list(read_feed(io.BufferedReader(io.BytesIO(stored)))) == [b"1 {}\n", b"2 {}\n"]


def test_an_empty_feed_has_no_lines():
    assert list(read_feed(io.BufferedReader(io.BytesIO(b"")))) == []


def test_a_gzip_feed_that_is_cut_off_gives_what_is_whole_and_says_so():
    lines = [f"{n} {{}}\n".encode() for n in range(20_000)]
    stored = gzip.compress(b"".join(lines))
    seen = []
    with pytest.raises(BrokenFeedError, match="cut off"):
        seen.extend(read_feed(io.BufferedReader(io.BytesIO(stored[: len(stored) // 2]))))
    assert 0 < len(seen) < len(lines)
    assert seen == lines[: len(seen)]


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda capture: capture.source)
def test_every_line_of_the_shipped_slice_is_a_message(capture):
    with capture.path.open("rb") as file:
        messages = [parse_line(line, capture.source) for line in read_feed(file)]
    assert len(messages) == 4_000
    assert {message.event_type for message in messages} == {"bookTicker", "trade", "depth", "snapshot"}
    assert [message.aggregate_id for message in messages if message.event_type == "snapshot"] == [None]
    assert {message.aggregate_id for message in messages} == {None, f"{capture.source}:BTCUSDT"}


def test_the_slice_names_its_source():
    notice = (CAPTURES[0].path.parent / "NOTICE").read_text(encoding="utf-8")
    assert "github.com/nkaz001/hftbacktest" in notice
    assert "5f3ec40b" in notice
