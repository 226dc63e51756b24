"""Exact JSON is written by the engine itself, and byte for byte as orjson writes it.

Random and adversarial values from a seed that is printed; JSON_MEGABYTES=n compares n megabytes instead of eight.
"""

import json
import math

import orjson
import pytest
from aresbus import EncodeError, _core
from json_values import FLOATS, MEGABYTES, SIGNS, seeded, some_value


@pytest.fixture
def log():
    with _core.Log(None) as log:
        yield log


@pytest.fixture
def rng():
    return seeded()


def written(log, data):
    """The stored bytes of data that has to be exact."""
    live = log._publish("t", data, "", None, None, None, None, None, None, None, _core.Expected.ANY, None)
    assert live.data is data
    return live.raw


def test_random_values(log, rng):
    compared = 0
    while compared < MEGABYTES * 500_000:
        data = [some_value(rng, 6) for _ in range(50)]
        expected = orjson.dumps(data)
        assert written(log, data) == expected
        compared += len(expected)


def test_floats_of_every_kind(log, rng):
    compared = 0
    while compared < MEGABYTES * 500_000:
        data = [rng.choice(FLOATS)(rng) for _ in range(1_000)]
        expected = orjson.dumps(data)
        assert written(log, data) == expected, next(n for n in data if written(log, [n]) != orjson.dumps([n]))
        compared += len(expected)


def test_floats_where_the_form_changes(log):
    edges = [
        0.0,
        -0.0,
        5e-324,
        1.7976931348623157e308,
        1e15,
        1e16,
        1e17,
        123456789012345680.0,
        1e-5,
        1e-4,
        1.5e-5,
        1e21,
        1e22,
    ]
    around = [math.nextafter(number, to) for number in edges for to in (math.inf, -math.inf)]
    data = [number for number in edges + around if math.isfinite(number)]
    assert written(log, data) == orjson.dumps(data)
    assert json.loads(written(log, data)) == data


def test_texts_of_every_length_with_each_sign_at_each_place(log):
    for length in range(40):
        data = ["x" * at + sign + "x" * (length - at) for at in range(length + 1) for sign in SIGNS]
        assert written(log, data) == orjson.dumps(data)
        assert written(log, dict.fromkeys(data, 0)) == orjson.dumps(dict.fromkeys(data, 0))


def test_depth_up_to_where_orjson_refuses(log):
    data = 0
    for _ in range(253):
        data = [data]
        live = log.append("t", {"a": data})
        assert [event.raw for event in log.read(after=live.seq - 1 if live.seq else None)][
            -1
        ] == orjson.dumps({"a": data})


def test_keys_that_come_again(log, rng):
    """The engine knows keys by identity: more of them than it remembers, in turn, long, escaped, equal but not the same."""
    signs = [f"{sign}{'k' * length}" for sign in SIGNS for length in (0, 1, 25, 28, 29, 30, 31, 32, 40)]
    keys = signs + [f"key {number}" for number in range(2_000)]
    keys += ["".join(list(key)) for key in keys]
    for _ in range(20_000):
        data = dict.fromkeys(rng.choices(keys, k=rng.randrange(8)), 1.5)
        assert written(log, data) == orjson.dumps(data)


def test_keys_whose_place_in_memory_is_taken_by_others(log):
    for number in range(50_000):
        data = {f"{number:x}": number}
        assert written(log, data) == orjson.dumps(data)


def test_a_key_that_is_no_plain_text_is_not_taken_for_one(log):
    class Text(str):
        __slots__ = ()

    for key in (Text("a"), 1, None):
        for _ in range(3):
            with pytest.raises(EncodeError):
                log.append("t", {key: 1})
            assert written(log, {"a": 1}) == b'{"a":1}'


def test_a_text_that_fills_a_segment(log):
    data = {"text": 'a"' * 5_000_000, "end": [1]}
    assert written(log, data) == orjson.dumps(data)
    assert written(log, [1.5]) == b"[1.5]"
