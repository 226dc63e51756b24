"""Schema versions as texts that have an order: that of semantic versioning.

Owns the order and which texts may be registered. Knows no event type and no schema. Invariants: every text has a
place in the order, also one that is no version, so that a hostile one sorts and never raises; two texts of the same
rank ("1.0" and "1.0.0") are one version.
"""

import re
from typing import TypeAlias

from aresbus._core import MAX_TEXT_BYTES

__all__ = ["checked_version", "version_order"]

VERSION = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})*)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")
"""Numbers, then perhaps a pre-release, then perhaps a build, which does not count. 18 digits fit any machine's integer."""
Order: TypeAlias = tuple[tuple[int, ...], bool, tuple[tuple[bool, int, str], ...], str]


def version_order(version: str) -> Order:
    """A key that sorts versions: "1.9.0" before "1.10.0", "2.0.0-rc.2" before "2.0.0-rc.10" before "2.0.0".

    Texts that are no version come first, in the order of their letters.
    """
    match = VERSION.fullmatch(version)
    if match is None:
        return ((), False, (), version)
    numbers = [int(part) for part in match.group(1).split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    before = match.group(2)
    return (tuple(numbers), before is None, tuple(map(_identifier, (before or "").split("."))), "")


def _identifier(text: str) -> tuple[bool, int, str]:
    """One part of a pre-release: numbers by size, before words."""
    is_number = text.isdigit() and len(text) <= 18  # noqa: PLR2004 - as in VERSION
    return (not is_number, int(text) if is_number else 0, text)


def checked_version(version: str) -> str:
    """The version itself. Raises TypeError for anything but text, ValueError for text without a place in the order."""
    if not isinstance(version, str):
        raise TypeError(f"a schema version is text like '1.2.0', not {type(version).__name__}")
    if VERSION.fullmatch(version) is None or len(version) > MAX_TEXT_BYTES:
        raise ValueError(f"a schema version is like '1.2.0' or '2.0.0-rc.1', not {version!r}")
    return str(version)
