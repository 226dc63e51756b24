"""Clean closes and kills in turn while the front of the log moves: a closing index is believed after its own close and never later.

Whether it was believed shows in a copy whose oldest sealed segment has a damaged header: only with the index an opening does
without that. ``RETENTION_KILLS`` says how many lives, half of that; ``SEED`` repeats how long each was.
"""

import random
import shutil
from collections import Counter
from pathlib import Path

import aresbus
from aresbus import CorruptionError
from rescue_support import flip, in_memory
from test_retention import opened
from test_retention_kills import KILLS, SEED, holds_together, zygote

ENDS = (
    ("closing", "closed", 1),
    ("moving", "passed", 1),
    ("closing", "closing", 1),
    ("closing", "passing", 3),
    ("closing", "closed", 1),
    ("closing", "passing", 1),
)
"""What a life does, and what it has said, and how often, when it is killed a moment later; in turn."""
LIVES = max(2 * len(ENDS), KILLS // 2)
IS_CLOSING_INDEX = b"AresClos"


def closing_indexes(folder: Path) -> list[Path]:
    return [
        one for one in (folder / "segments").glob("*.idx") if one.read_bytes().startswith(IS_CLOSING_INDEX)
    ]


def is_believed(folder: Path, copy: Path, oldest: int) -> bool | None:
    """Whether an opening of the log would go by its closing index; ``oldest`` is its first segment, not one that a kill left behind.

    None while that is not sealed yet: then nothing shows it.
    """
    if not (folder / f"segments/{oldest:016}.seg").exists():
        return None
    shutil.copytree(folder, copy)
    flip(copy / f"segments/{oldest:016}.seg", 100)
    try:
        aresbus.open(copy, mode="r", audit=False).close()
    except CorruptionError:
        return False
    finally:
        shutil.rmtree(copy)
    return True


def test_a_closing_index_is_believed_after_its_own_close_alone(record_property):
    print(f"SEED={SEED}")
    record_property("seed", SEED)
    chance, seen, closed_at = random.Random(SEED), Counter(), 0
    with in_memory() as root, zygote() as zygotes:
        folder, copy = root / "log", root / "copy"
        for life in range(LIVES):
            verb, word, times = ENDS[life % len(ENDS)]
            moment = chance.random() * (0.02 if word == "closing" else 0.001)
            said = zygotes.live(verb, folder, word, times, moment)
            last_word, first, last = said[-1]
            with aresbus.open(folder, mode="r", audit=False) as log:
                is_clean = log.recovery["clean"]
                assert log.first_seq >= first
                assert log.last_seq >= last
                holds_together(log)
                first, oldest = log.first_seq, log.stats()["segments"][0]["number"]
            assert is_believed(folder, copy, oldest) in {None, is_clean}
            assert is_clean or last_word != "closed"
            assert not is_clean or last_word in {"closing", "closed"}
            # A killed life leaves the index of the close before, until its segment is sealed.
            is_refused, has_moved = not is_clean and any(closing_indexes(folder)), 0 < closed_at < first
            seen["believed"] += is_clean
            seen["believed, the front had moved"] += is_clean and has_moved
            seen["refused"] += is_refused
            seen["refused, the front had moved"] += is_refused and has_moved
            closed_at = first if is_clean else closed_at
            with opened(shutil.copytree(folder, copy)) as log:
                holds_together(log)
            shutil.rmtree(copy)
        with opened(folder) as log:
            holds_together(log)
    print(dict(seen))
    assert min(seen.values()) > 1, seen
