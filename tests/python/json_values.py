"""Random and adversarial values for the tests of JSON, how many of them, and from which seed."""

import math
import os
import random
import struct
import time

MEGABYTES = float(os.environ.get("JSON_MEGABYTES", "8"))

SIGNS = (
    [chr(code) for code in range(0x80)]
    + list('""\\\\\n\t\x00\x1f\x7f')
    + list("éß€漢\u2028\ufeff\U0001f600\U0010ffff")
)


def seeded():
    """Random numbers from a seed that is printed: JSON_SEED repeats what failed."""
    seed = int(os.environ.get("JSON_SEED", time.time_ns()))
    print("JSON_SEED", seed)
    return random.Random(seed)


def some_bits(rng):
    """Any finite float: every exponent is as likely as another."""
    while not math.isfinite(number := struct.unpack("<d", rng.randbytes(8))[0]):
        pass
    return number


def some_price(rng):
    """What markets send: few decimals, many digits before them or none."""
    return round(rng.uniform(-1, 1) * 10 ** rng.randrange(10), rng.randrange(10))


def some_neighbour(rng):
    """A power of ten or two, or an integer, or the float next to it."""
    number = rng.choice(
        [10.0 ** rng.randrange(-323, 309), 2.0 ** rng.randrange(-1074, 1024), float(rng.randrange(2**54))]
    )
    towards = rng.choice([number, math.inf, -math.inf])
    return math.nextafter(number, towards) if math.isfinite(math.nextafter(number, towards)) else number


FLOATS = [some_bits, some_price, some_neighbour, lambda rng: rng.random(), lambda rng: -rng.expovariate(1)]


def some_text(rng):
    length = rng.choice([rng.randrange(5), rng.randrange(20), rng.randrange(70)])
    plain = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789-", k=length))
    if rng.random() < 0.5:
        return plain
    at = rng.randrange(length + 1)
    return plain[:at] + "".join(rng.choices(SIGNS, k=rng.randrange(4))) + plain[at:]


def some_integer(rng):
    return rng.choice(
        [
            rng.randrange(100),
            rng.randrange(-(2**63), 2**64),
            -(2**63),
            2**63,
            2**64 - 1,
            -1,
            10 ** rng.randrange(19),
        ]
    )


def some_value(rng, depth):
    kind = rng.randrange(12 if depth else 9)
    if kind < 3:
        return rng.choice(FLOATS)(rng)
    if kind < 5:
        return some_integer(rng)
    if kind < 8:
        return some_text(rng)
    if kind == 8:
        return rng.choice([None, True, False])
    if kind == 9:
        return [some_value(rng, depth - 1) for _ in range(rng.randrange(8))]
    return {some_text(rng): some_value(rng, depth - 1) for _ in range(rng.randrange(8))}
