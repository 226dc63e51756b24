"""``aresbus hold release``: end a hold; from then on its events expire as all others do.

Owns that one word, and says what was released. The hold itself is the log's.
"""

from argparse import Namespace

from aresbus.log import open as open_log
from aresbus.readable import printable

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Do it, on record."""
    with open_log(arguments.log, mode="r") as log:
        log.release(arguments.name, reason=arguments.reason)
    print(printable(f"{arguments.name}: released"))
    return 0
