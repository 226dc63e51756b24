"""Stored JSON is read by the engine itself, and gives just what orjson.loads gives of the same bytes.

Random and adversarial texts from a seed that is printed; JSON_MEGABYTES=n compares n megabytes instead of eight.
"""

import gc
import json
import math
import random
import sys

import orjson
import pytest
from aresbus import _core
from json_values import FLOATS, MEGABYTES, SIGNS, seeded, some_text, some_value

GIVEN = [
    "0", "-0", "-0.0", "0.0", "0e0", "1e5", "1E5", "1e+5", "1e-5", "1.0e-400", "4.9e-324", "2.5e-324", "1e308",
    "9007199254740993", "9007199254740993.0", "0.30000000000000004", "123456789012345678", "999999999999999999",
    "1000000000000000000", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "18446744073709551615",
    "18446744073709551616", "1234567890.1234567890", "0.00000000000000000000001", "12345678", "1234567", "123456789",
    "0.12345678", "0.123456789", "99999999.99999999", "true", "false", "null", '""', '"\\n"', '"\\ud83d\\ude00"', "[]", "{}",
    " [ 1 , 2 ] ", '\t{ "a" : 1 ,\r\n"b" : [ ] }\n', '{"a":1,"b":2,"a":3}', '{"":{"":{}}}', '"\x7f"', "[[[[[[[[]]]]]]]]",
]  # fmt: skip


@pytest.fixture
def log():
    with _core.Log(None) as log:
        yield log


@pytest.fixture
def rng():
    return seeded()


def read_back(log, texts):
    """The data of events with these payloads."""
    before = log.last_seq
    for text in texts:
        log.append_bytes("t", text, encoding="json")
    return [event.data for event in log.read(after=before)]


def assert_same(log, texts):
    # repr tells types, order, the sign of zero and each float.
    for text, data in zip(texts, read_back(log, texts), strict=True):
        assert repr(data) == repr(orjson.loads(text)), text


def spaced(rng, text):
    """The same with space around signs that are in no text: as other programs write."""
    if b"\\" in text:
        return text
    parts = text.split(b'"')
    for at in range(0, len(parts), 2):
        for sign in b"[]{}:,":
            if rng.random() < 0.3:
                parts[at] = parts[at].replace(bytes([sign]), bytes([rng.choice(b" \t\r\n"), sign, 32]))
    return b'"'.join(parts)


def test_random_values(log, rng):
    compared = 0
    while compared < MEGABYTES * 500_000:
        texts = [orjson.dumps([some_value(rng, 5) for _ in range(10)]) for _ in range(50)]
        assert_same(log, texts + [spaced(rng, text) for text in texts])
        compared += 2 * sum(map(len, texts))


def test_floats_of_every_kind(log, rng):
    compared = 0
    while compared < MEGABYTES * 500_000:
        numbers = [rng.choice(FLOATS)(rng) for _ in range(1_000)]
        forms = [f"{number:.{rng.randrange(20)}{rng.choice('feg')}}" for number in numbers]
        forms = [form for form in forms if math.isfinite(float(form))]  # one may round to more than there is
        texts = [orjson.dumps(numbers), f"[{','.join(forms)}]".encode()]
        assert_same(log, texts)
        compared += sum(map(len, texts))


def test_digits_of_every_length(log, rng):
    numbers = []
    for whole in range(1, 21):
        for fraction in range(21):
            digits = [str(rng.randrange(10 ** (n - 1), 10**n)) if n else "" for n in (whole, fraction)]
            numbers += [".".join(filter(None, digits)), f"-0.{'0' * whole}{digits[1] or 1}"]
    assert_same(log, [number.encode() for number in numbers] + [f"[{','.join(numbers)}]".encode()])


@pytest.mark.parametrize("text", GIVEN)
def test_what_is_special(log, text):
    assert_same(log, [text.encode(), f'[{text}, {{"k": {text}}}]'.encode()])


def test_texts_of_every_length_with_each_sign_at_each_place(log):
    for length in range(40):
        data = ["x" * at + sign + "x" * (length - at) for at in range(length + 1) for sign in SIGNS]
        texts = [json.dumps(text, ensure_ascii=False).encode() for text in data]
        assert read_back(log, texts) == data
        keys = [orjson.dumps({text: 1}) for text in data]
        assert read_back(log, keys) == [{text: 1} for text in data]


def test_depth(log):
    for depth in (99, 100, 101, 102, 500):
        assert_same(log, [b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth])


def test_keys_that_come_again(log, rng):
    """More of them than are remembered, in turn; long ones, and such as begin and end alike."""
    keys = [f"{sign}{'k' * length}" for sign in SIGNS for length in (0, 1, 7, 8, 9, 30, 31, 32, 33)]
    keys += [f"key {number}" for number in range(3_000)]
    keys += [f"beginning{number:02}theending" for number in range(100)]
    for _ in range(50):
        dicts = [dict.fromkeys(rng.choices(keys, k=rng.randrange(12)), 1.5) for _ in range(200)]
        assert read_back(log, [orjson.dumps(data) for data in dicts]) == dicts


def test_what_is_read_is_the_readers_own(log):
    first, second = read_back(log, [b'{"a":[],"b":{}}'] * 2)
    first["a"].append(1)
    first["b"]["c"] = 2
    assert second == {"a": [], "b": {}}


def test_a_collection_that_reads_while_something_is_read(log):
    """Objects that are made may set off a collection, and what that frees may read events itself."""
    texts = [orjson.dumps({f"key {n}": [{"n": n}, [n / 4]] for n in range(at, at + 8)}) for at in range(200)]
    expected = [orjson.loads(text) for text in texts]
    events = []
    nested = []

    class Reads:
        def __init__(self):
            self.me = self

        def __del__(self):
            nested.append(next(iter(log.read(after=rng.randrange(100)))).data)

    rng = random.Random(1)
    assert read_back(log, texts) == expected
    threshold = gc.get_threshold()
    gc.set_threshold(3, 1, 1)
    try:
        for event in log.read():
            Reads()
            events.append(event.data)
    finally:
        gc.set_threshold(*threshold)
    assert events == expected
    assert nested
    assert all(data in expected for data in nested)


def test_reading_leaks_nothing(log, rng):
    texts = [orjson.dumps({some_text(rng): [some_value(rng, 3)] for _ in range(5)}) for _ in range(300)]
    read_back(log, texts)

    def blocks():
        for event in log.read():
            _ = event.data
        gc.collect()
        return sys.getallocatedblocks()

    blocks()  # keys that come again are kept
    before = blocks()
    assert blocks() < before + len(texts) / 3
