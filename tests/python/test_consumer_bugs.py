"""Shows that the consumers' suite would find a bug: with each of planted_consumers.py planted, it fails, and says what is wrong."""

import re
from pathlib import Path

import pytest
from planted_consumers import BUGS
from test_consumer_kills import check, torture

KILLS = 40
SEEDS = range(3)
"""Whether a kill meets the moment that matters is chance: seldom does it take more than one life of the suite."""
PATIENCE_SECONDS = 3
"""What is lost does not come however long one waits."""


@pytest.mark.parametrize("bug", BUGS)
def test_the_suite_finds(tmp_path, bug):
    found = next(filter(None, (complaint(tmp_path / str(seed), seed, bug) for seed in SEEDS)), None)
    assert found is not None, "nobody noticed"
    assert re.search(BUGS[bug].found_as, found)


def complaint(folder: Path, seed: int, bug: str) -> str | None:
    """What the suite says of this life with the bug."""
    folder.mkdir()
    try:
        check(folder, torture(folder, KILLS, seed, bug=bug, patience=PATIENCE_SECONDS))
    except AssertionError as found:
        return str(found)
    return None
