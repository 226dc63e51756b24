"""Shows that the suites of backups would find a bug: with each of planted_backups.py planted, one fails and says what is wrong."""

from pathlib import Path

import pytest
from faults import Faults, with_faults
from planted_backups import BUGS
from rescue_support import in_memory
from test_backup import test_a_flipped_bit_in_a_backup_is_found_and_never_restored as check_flipped_bits
from test_backup_steps import (
    Lived,
    check_killed_backups,
    check_order_of_a_restore,
    check_order_of_backups,
)


@pytest.mark.parametrize("bug", BUGS)
@with_faults
def test_the_suite_finds(faults, tmp_path, bug):
    with in_memory() as folder:
        Lived(folder).live()
        BUGS[bug].plant()
        with pytest.raises((AssertionError, pytest.fail.Exception), match=BUGS[bug].found_as):
            check(BUGS[bug].check, faults, folder, tmp_path)


def check(what: str, faults: Faults, folder: Path, root: Path) -> None:
    if what == "killed backups":
        check_killed_backups(faults, folder, has_earlier=True)
    elif what == "order of backups":
        check_order_of_backups(faults, folder, root)
    elif what == "order of a restore":
        check_order_of_a_restore(faults, Lived(folder).earlier, root)
    else:
        check_flipped_bits(folder / "earlier", root, 0)
